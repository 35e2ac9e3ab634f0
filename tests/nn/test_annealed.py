"""Numbers that change over the run: their shapes, as floats and as tensors, and where a config may have them."""

import math

import pytest
import torch
from helpers import NoHostSync, compose, overrides

from gancli import config
from gancli.errors import UsageError
from gancli.nn.annealed import Annealed, bounds, value
from gancli.training.build import build


@pytest.mark.parametrize(
    "shape, expected",
    [
        ("linear", [4, 4, 2.5, 1, 1]),
        ("cosine", [4, 4, 2.5, 1, 1]),
        ("exponential", [4, 4, 2, 1, 1]),
        ("step", [4, 4, 4, 1, 1]),
    ],
)
def test_shapes_with_floats_and_with_tensors_that_nobody_waits_for(shape, expected):
    number = Annealed(4, 1, shape, start=0.2, until=0.6)
    shares = [0.0, 0.2, 0.4, 0.6, 1.0]
    assert [number(share) for share in shares] == pytest.approx(expected)
    with NoHostSync():
        found = [number(torch.tensor(share, dtype=torch.float64)) for share in shares]
    assert torch.stack(found).tolist() == pytest.approx(expected)


def test_a_cosine_is_flat_at_both_ends():
    number = Annealed(1, 0, "cosine")
    assert number(0.25) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    assert 1 - number(0.01) < 0.001 and number(0.99) < 0.001


def test_a_plain_number_is_itself():
    number = 0.1
    assert value(number, torch.tensor(0.5)) is number and bounds(number) == (0.1, 0.1)
    assert value([Annealed(0, 1), 0.9], 0.5) == (0.5, 0.9) and bounds(Annealed(3, 2)) == (2, 3)


@pytest.mark.parametrize(
    "node, text",
    [
        ({"from": 1, "to": 2, "shape": "round"}, "shape=round"),
        ({"from": 1, "to": 2, "start": 0.5, "until": 0.5}, "start=0.5"),
        ({"from": 1, "to": 0, "shape": "exponential"}, "above 0"),
        ({"from": 1}, "from, to"),
        ({"from": 1, "to": 2, "end": 1}, "from, to"),
    ],
)
def test_what_is_no_such_number(node, text):
    with pytest.raises(ValueError, match=text):
        Annealed.from_config(node)


CHANGING = [
    "optimizer.lr={from: 0.001, to: 0.0001, shape: cosine}",
    "optimizer.betas=[{from: 0, to: 0.5}, 0.99]",
    "optimizer.overrides.generator.lr={from: 0.1, to: 0.2}",
    "penalty=[r1]",
    "loss.penalties.r1.gamma={from: 10, to: 1}",
    "stabilizer=[flip_labels,instance_noise]",
    "loss.stabilizers.flip_labels.p={from: 0.5, to: 0}",
    "loss.stabilizers.instance_noise.sigma={from: 0.2, to: 0.1, shape: step, until: 0.5}",
    "ema.half_life={from: 1k, to: 10k, until: 0.5}",
    "schedule=linear_from_start",
]


def test_where_a_config_may_have_them():
    run = build(config.compose("train", overrides("dcgan", *CHANGING)))
    assert run.loss.penalties["r1"].gamma(0.5) == 5.5 and run.ema.half_life(0.25) == 5500
    assert run.loss.stabilizers["flip_labels"].p(1.0) == 0
    discriminator, generator = run.steps
    discriminator.prepare(0.5, run.schedule(run.total // 2, run.total))
    generator.prepare(0.5)
    (first,), (second,) = discriminator.optimizer.param_groups, generator.optimizer.param_groups
    assert first["lr"] == pytest.approx(0.5 * 0.00055) and first["betas"] == (0.25, 0.99)
    assert second["lr"] == pytest.approx(0.15)
    scalars = discriminator.compute(run.loader.next(0.5))
    assert scalars["discriminator/r1"].isfinite()
    again = config.from_yaml(config.to_yaml(run.cfg))
    assert build(again).loss.penalties["r1"].gamma(0.5) == 5.5


@pytest.mark.parametrize(
    "override, text",
    [
        ("optimizer.lr={from: 1}", "optimizer.lr: expected a number, or {from"),
        ("optimizer.lr={from: 1, to: 2, shape: round}", "optimizer.lr: shape=round"),
        ("optimizer.eps={from: 1, to: 2}", "optimizer.eps: expected float"),
        ("loss.repeat={from: 1, to: 2}", "loss.repeat: expected int"),
        ("ema.half_life={from: x, to: 2}", "ema.half_life.from: expected a number of images"),
        ("model.width={from: 1, to: 2}", "model.width: expected int"),
    ],
)
def test_where_it_may_not(override, text):
    with pytest.raises(UsageError, match=text):
        config.compose("train", overrides("dcgan", override))


def test_a_rate_that_changes_equals_the_schedule_that_says_the_same():
    plain = build(compose("train", overrides("dcgan", "schedule=linear_from_start")))
    other = build(config.compose("train", overrides("dcgan", "optimizer.lr={from: 2e-4, to: 0}")))
    for images in (0, 8, 500_000, 10**6):
        plain.steps[0].prepare(0.0, plain.schedule(images, plain.total))
        other.steps[0].prepare(images / other.total)
        rates = [run.steps[0].rates()["lr/discriminator"] for run in (plain, other)]
        assert rates[0] == pytest.approx(rates[1], rel=1e-12)
