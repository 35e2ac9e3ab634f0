"""Penalties against slow twins and finite differences; projections after every update; what mixes, and what warns."""

import re

import pytest
import torch
from helpers import compose, game, overrides, tensors
from torch import Tensor, nn
from torch.func import functional_call

from gancli.errors import UsageError
from gancli.losses.orthogonal import Orthogonal
from gancli.losses.penalties import (
    DRAGAN,
    R1,
    R2,
    Drift,
    GradientPenalty,
    PenaltyInputs,
    WeightClipping,
)  # fmt: skip
from gancli.training.build import build
from gancli.training.loop import train
from gancli.training.turn import run_turn

PENALTIES = {
    "gradient_penalty": GradientPenalty(weight=3.0),
    "one_sided": GradientPenalty(target=0.2, one_sided=True),
    "dragan": DRAGAN(),
    "r1": R1(gamma=5.0),
    "r2": R2(gamma=5.0),
    "drift": Drift(weight=0.5),
    "orthogonal": Orthogonal(weight=0.3),
}


class Silent:
    def add(self, scalars): ...


def gradient(critic: nn.Module, image: Tensor) -> Tensor:
    """One image's gradient by central differences, pixel by pixel."""
    out, step = torch.zeros_like(image), 1e-5
    for i in range(image.numel()):
        bump = torch.zeros_like(image).flatten()
        bump[i] = step
        bump = bump.view_as(image)
        with torch.no_grad():
            out.view(-1)[i] = (critic((image + bump)[None]) - critic((image - bump)[None])).item() / (2 * step)
    return out


def slow(name: str, play: PenaltyInputs) -> float:
    """The papers' formulas, one image at a time; random numbers are drawn in the same order."""
    critic, real, fake, n = play.network, play.real, play.fake(), len(play.real)
    if name in ("gradient_penalty", "one_sided"):
        weight, target = (3.0, 1.0) if name == "gradient_penalty" else (10.0, 0.2)
        share = torch.rand(n, 1, 1, 1, dtype=real.dtype)
        excess = [
            gradient(critic, e * x + (1 - e) * g).square().sum().sqrt().item() - target
            for e, x, g in zip(share, real, fake)
        ]
        return weight * sum((e if name == "gradient_penalty" else max(e, 0)) ** 2 for e in excess) / n
    if name == "dragan":
        noise = 0.5 * ((real - real.mean()) ** 2).mean().sqrt() * torch.rand_like(real)
        share = torch.rand(n, 1, 1, 1, dtype=real.dtype)
        norms = [gradient(critic, x + a * u).norm().item() for x, a, u in zip(real, share, noise)]
        return 10 * sum((norm - 1) ** 2 for norm in norms) / n
    if name in ("r1", "r2"):
        return 5 / 2 * sum(gradient(critic, x).square().sum().item() for x in (real if name == "r1" else fake)) / n
    if name == "drift":
        return 0.5 * sum(critic(x[None]).item() ** 2 for x in real) / n
    first, last = critic[1].weight, critic[3].weight  # 6x8: six orthonormal rows; 1x6: one row of norm 1
    rows = sum(((a @ b) - float(i == j)) ** 2 for i, a in enumerate(first) for j, b in enumerate(first))
    return 0.3 * (rows + (last[0] @ last[0] - 1) ** 2).item()


@pytest.mark.parametrize("name", PENALTIES)
def test_every_penalty_equals_its_slow_twin(name):
    play = game()
    torch.manual_seed(1)
    value = PENALTIES[name](play)
    torch.manual_seed(1)
    assert value.ndim == 0 and value.item() == pytest.approx(slow(name, play), rel=1e-6)
    assert value.item() > 0


@pytest.mark.parametrize("name", PENALTIES)
def test_gradients_in_the_weights_pass_gradcheck(name):
    play = game()
    names = [key for key, _ in play.network.named_parameters()]

    def value(*weights: Tensor) -> Tensor:
        torch.manual_seed(1)
        critic = play.network if name != "orthogonal" else Weights(weights)
        score = lambda x: functional_call(play.network, dict(zip(names, weights)), (x,))  # noqa: E731
        return PENALTIES[name](play._replace(network=critic, score=score))

    weights = tuple(p.detach().clone().requires_grad_() for p in play.network.parameters())
    assert torch.autograd.gradcheck(value, weights)


class Weights:
    """Stands in for a critic where only its weights are asked for."""

    def __init__(self, weights: tuple[Tensor, ...]) -> None:
        self.weights = weights

    def parameters(self) -> tuple[Tensor, ...]:
        return self.weights


def test_a_tall_matrix_is_compared_by_its_columns():
    tall = nn.Linear(2, 7, bias=False).double()
    nn.init.orthogonal_(tall.weight)  # orthonormal columns; seven rows in two dimensions cannot be orthogonal
    assert Orthogonal(1.0)(game(tall)).item() == pytest.approx(0, abs=1e-12)


def test_orthogonal_is_the_squared_frobenius_norm_in_closed_form():
    """k orthogonal rows of length 2: k (4 - 1)^2, of absolute values it would be 3 k; equal rows: off the diagonal."""
    layer = nn.Linear(5, 3, bias=False).double()
    nn.init.orthogonal_(layer.weight, gain=2.0)
    assert Orthogonal(0.1)(game(layer)).item() == pytest.approx(0.1 * 3 * 9)
    layer = nn.Linear(2, 2, bias=False).double()
    layer.weight.data = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    assert Orthogonal(1.0)(game(layer)).item() == pytest.approx(2)
    assert Orthogonal(1.0)(game(nn.Sequential(layer, layer, nn.BatchNorm1d(2)))).item() == pytest.approx(
        2
    )  # shared once


def test_one_share_per_sample():
    """On a line from 0 to 1 in every pixel all pixels of a sample are equal, and the samples are not."""
    seen = []

    def score(image: Tensor) -> Tensor:
        seen.append(image.detach())
        return image.sum((1, 2, 3))

    ones = torch.ones(6, 2, 3, 3)
    GradientPenalty()(PenaltyInputs(nn.Identity(), score, ones, lambda: 0 * ones))
    assert seen[0].flatten(1).std(1).max() == 0 and len(seen[0].flatten(1)[:, 0].unique()) == 6


def test_a_slope_below_the_target_costs_from_two_sides_only():
    flat = lambda image: 0.01 * image.sum((1, 2, 3))  # noqa: E731
    play = PenaltyInputs(nn.Identity(), flat, torch.ones(3, 1, 2, 2), lambda: torch.zeros(3, 1, 2, 2))
    assert GradientPenalty()(play).item() == pytest.approx(10 * (1 - 0.02) ** 2)
    assert GradientPenalty(one_sided=True)(play).item() == 0


def test_a_constant_critic_has_a_finite_gradient():
    """The norm has no derivative at zero: a dead critic must not become NaN."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(8, 1), nn.Flatten(0)).double()
    nn.init.zeros_(net[1].weight)
    GradientPenalty()(game(net)).backward()
    assert torch.isfinite(net[1].weight.grad).all()


def test_lazy_penalties_are_scaled_by_their_interval():
    on = ["penalty=[r1]", "loss.penalties.r1.interval=3", "loss.penalties.r1.gamma=0.5"]
    step = build(compose("train", overrides("dcgan", *on))).steps[0]
    batch = build(compose("train", overrides("dcgan", *on))).loader.next()
    rows = [step(batch) for _ in range(4)]
    assert ["discriminator/r1" in row for row in rows] == [True, False, False, True]
    row = {key.removeprefix("discriminator/"): value.item() for key, value in rows[3].items()}
    assert row["loss/discriminator"] == pytest.approx(row["real"] + row["fake"] + 3 * row["r1"], rel=1e-5)


def test_several_penalties_are_summed_with_any_loss():
    for loss in ("hinge", "relativistic", "fgan", "lsgan"):
        step = build(compose("train", overrides("dcgan", f"loss={loss}", "penalty=[drift,r1,orthogonal]"))).steps[0]
        assert [term.second_order for term in step.phase.terms] == [False, False, True, False]
        parts = build(compose("train", overrides("dcgan")))
        row = {k.removeprefix("discriminator/"): v.item() for k, v in step(parts.loader.next()).items()}
        total = sum(row[key] for key in ("real", "fake", "drift", "r1", "orthogonal"))
        assert row["loss/discriminator"] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("c", [0.01, 0.003])
def test_clipped_weights_stay_in_range_after_every_critic_update(c):
    on = ["loss=wasserstein", "penalty=weight_clipping", f"loss.penalties.weight_clipping.c={c}", "optimizer=rmsprop"]
    parts = build(compose("train", overrides("dcgan", *on, "data.size=16")))  # with batch norm in the critic
    critic, largest = parts.steps[0], []
    for _ in range(4):
        critic(parts.loader.next())
        largest.append(max(p.abs().max().item() for p in parts.model.discriminator.parameters()))
    assert all(value == pytest.approx(c) and value <= c * (1 + 1e-6) for value in largest)
    assert max(p.abs().max().item() for p in parts.model.generator.parameters()) > 0.03


def test_the_critic_never_gets_a_gradient_from_the_generators_step():
    on = ["loss=wasserstein", "penalty=[gradient_penalty,drift]", "stabilizer=instance_noise", "loss.repeat=1"]
    parts = build(compose("train", overrides("dcgan", *on)))
    batch, (critic, generator) = parts.loader.next(), parts.steps
    critic(batch)
    before = {k: (v.detach().clone(), v.grad.clone()) for k, v in parts.model.discriminator.named_parameters()}
    generator(batch)
    for key, value in parts.model.discriminator.named_parameters():
        assert torch.equal(value, before[key][0]) and torch.equal(value.grad, before[key][1])
    grads = {k: v.grad.clone() for k, v in parts.model.generator.named_parameters()}
    critic(batch)
    assert all(torch.equal(v.grad, grads[k]) for k, v in parts.model.generator.named_parameters())


def test_second_order_penalties_run_without_autocast():
    parts = build(compose("train", overrides("dcgan", "penalty=r1", "runtime.precision=bf16")))
    types = []
    parts.model.discriminator.register_forward_hook(lambda _, args, out: types.append(out.dtype))
    parts.steps[0](parts.loader.next())
    assert types == [torch.bfloat16, torch.bfloat16, torch.float32]


@pytest.mark.parametrize(
    "on, said",
    [
        (["penalty=gradient_penalty", "data.size=16"], "batch norm.*Gulrajani et al. 2017"),
        (["penalty=weight_clipping", "optimizer=adam"], "momentum 0.5.*Arjovsky et al. 2017"),
        (["penalty=weight_clipping", "optimizer=sgd"], "momentum 0.5.*Arjovsky et al. 2017"),
        (["penalty=weight_clipping", "optimizer=rmsprop"], None),
        (["penalty=weight_clipping", "optimizer=adam", "+optimizer.overrides.discriminator.betas=[0,0.9]"], None),
        (["penalty=gradient_penalty", "model=mlp_gan"], None),
        (["penalty=r1", "data.size=16"], "R1 on a critic with batch norm.*Mescheder et al. 2018"),
        (["penalty=r2"], "R2 on a critic with batch norm.*discriminator_norm=none"),
        (["penalty=dragan"], "DRAGAN on a critic with batch norm"),
        (["penalty=[r1,r2]", "model.discriminator_norm=none"], None),
        (["penalty=[drift,orthogonal]"], None),
        (["penalty=r1", "model=mlp_gan"], None),
    ],
)
def test_what_contradicts_a_paper_warns_in_one_line(on, said):
    small = [] if "model=mlp_gan" in on else ["model.width=4"]
    lines = build(compose("train", [*overrides("none")[1:], *small, *on])).warnings()
    assert len(lines) == (said is not None)
    if said:
        assert re.search(said, lines[0]) and "\n" not in lines[0]


def test_the_warning_is_in_the_runs_log(tmp_path):
    train(compose("train", overrides("dcgan", "images=16", "penalty=weight_clipping")), tmp_path)
    assert "Arjovsky et al. 2017" in (tmp_path / "log.txt").read_text()


@pytest.mark.parametrize(
    "on, said",
    [
        (["penalty=r1", "+loss.penalties.r1.gama=1"], "loss.penalties.r1.gama: no such key; did you mean 'gamma'"),
        (["penalty=r1", "loss.penalties.r1.gamma=x"], "loss.penalties.r1.gamma: expected float"),
        (["stabilizer=smooth_labels", "+loss.stabilizers.smooth_labels.rael=1"], "no such key.*real_label"),
        (["+loss.penalties.r1.gamma=1"], "penalties.r1 is not a Regularizer; choose it with penalty=r1"),
        (["penalty=r1", "loss.penalties.r1.interval=0"], "interval=0: must be 1 or more"),
        (["penalty=weight_clipping", "loss.penalties.weight_clipping.c=0"], "c=0: must be above 0"),
        (["loss=wasserstein", "loss.warmup=-1"], "loss.warmup=-1: must be 0 or more"),
        (["loss=wasserstein", "loss.warmup_repeat=0"], "warmup_repeat=0: must be 1 or more"),
        (["loss=fgan", "loss.divergence=chi"], "loss.divergence: expected Literal"),
        (["loss=wasserstein", "stabilizer=smooth_labels"], "stabilizer=smooth_labels changes labels"),
        (["loss=fgan", "stabilizer=flip_labels"], "stabilizer=flip_labels changes labels"),
        (["stabilizer=smooth_labels", "loss.stabilizers.smooth_labels.real_label=1.5"], "at most 1, got 1.5"),
        (["stabilizer=flip_labels", "loss.stabilizers.flip_labels.p=0.7"], "from 0 to 0.5, got 0.7"),
        (["stabilizer=instance_noise", "loss.stabilizers.instance_noise.end=0"], "end=0.0 above 0"),
    ],
)
def test_mistakes_are_refused_in_one_line(on, said):
    with pytest.raises(UsageError, match=said):
        build(compose("train", overrides("dcgan", *on)))


def test_clipping_keeps_no_state_and_r1_none_either():
    parts = build(compose("train", overrides("dcgan", "penalty=[weight_clipping,r1]", "stabilizer=smooth_labels")))
    run_turn(parts, Silent(), measure=False)
    assert tensors(parts.state()["loss"]) == {} and WeightClipping(0.5).c == 0.5


@pytest.mark.parametrize(
    "on, told",
    [
        (["model=dcgan", "loss=wasserstein"], True),
        (["model=dcgan", "loss=wasserstein", "penalty=drift"], True),
        (["model=wgan", "penalty=[]"], True),
        (["model=dcgan", "loss=wasserstein", "penalty=gradient_penalty"], False),
        (["model=wgan"], False),
        (["model=sngan", "loss=wasserstein"], False),
        (["model=dcgan"], False),
    ],
)
def test_a_wasserstein_loss_without_any_bound_is_told(on, told):
    run = build(compose("train", overrides("dcgan", *on)))
    assert any("nothing that bounds the critic's slope" in line for line in run.warnings()) == told
