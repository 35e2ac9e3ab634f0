"""Adversarial losses against their definitions in float64, at equilibrium, and where the naive form overflows."""

import math

import pytest
import torch

from gancli.losses.adversarial import Minimax, NonSaturating, verdicts

LOSSES = {"minimax": Minimax, "nonsaturating": NonSaturating}


@pytest.mark.parametrize("name", LOSSES)
def test_sum_is_the_definition_with_a_sigmoid(name):
    real, fake = torch.randn(2, 256, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3
    loss = LOSSES[name]()
    d = sum(loss.discriminator_loss(real, fake).values())
    assert d.item() == pytest.approx(-(real.sigmoid().log() + (1 - fake.sigmoid()).log()).mean().item(), rel=1e-12)
    g = sum(loss.generator_loss(fake).values())
    expected = {"minimax": (1 - fake.sigmoid()).log().mean(), "nonsaturating": -fake.sigmoid().log().mean()}[name]
    assert g.item() == pytest.approx(expected.item(), rel=1e-12)


def test_values_where_the_players_are_even():
    """At p_g = p_data the discriminator says 1/2: its loss is 2 log 2 and minimax's generator is at -log 2."""
    zero = torch.zeros(8, dtype=torch.float64)
    assert sum(Minimax().discriminator_loss(zero, zero).values()).item() == pytest.approx(2 * math.log(2), rel=1e-12)
    assert sum(Minimax().generator_loss(zero).values()).item() == pytest.approx(-math.log(2), rel=1e-12)
    assert sum(NonSaturating().generator_loss(zero).values()).item() == pytest.approx(math.log(2), rel=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_finite_with_finite_gradients_at_extreme_logits(name):
    logits = torch.tensor([-1e4, -100.0, 100.0, 1e4], requires_grad=True)
    loss = LOSSES[name]()
    total = sum(loss.discriminator_loss(logits, logits).values()) + sum(loss.generator_loss(logits).values())
    (grad,) = torch.autograd.grad(total, logits)
    assert torch.isfinite(total) and torch.isfinite(grad).all()


def test_minimax_saturates_and_nonsaturating_does_not():
    """The generator's gradient in the logit is -D against -(1 - D): they vanish at opposite ends and sum to one."""
    logit = torch.tensor([-12.0], dtype=torch.float64, requires_grad=True)  # D is sure the image is fake
    grads = {}
    for name, make in LOSSES.items():
        (grad,) = torch.autograd.grad(sum(make().generator_loss(logit).values()), logit)
        grads[name] = grad.item()
    d = 1 / (1 + math.exp(12))
    assert grads["minimax"] == pytest.approx(-d, rel=1e-9)
    assert grads["nonsaturating"] == pytest.approx(-(1 - d), rel=1e-9)


def test_verdicts():
    values = verdicts(torch.tensor([1.0, 2.0, -1.0, 3.0]), torch.tensor([-1.0, 1.0, 0.0, -2.0]))
    assert values["accuracy"].item() == pytest.approx((3 / 4 + 3 / 4) / 2)
    assert values["D(real)"].item() == pytest.approx(torch.tensor([1.0, 2.0, -1.0, 3.0]).sigmoid().mean().item())


@pytest.mark.parametrize("repeat", [1, 5])
def test_phases(repeat):
    phases = NonSaturating(repeat).phases(None)
    assert [(p.name, p.networks, p.repeat) for p in phases] == [
        ("discriminator", ("discriminator",), repeat),
        ("generator", ("generator",), 1),
    ]
