"""Adversarial losses against their definitions in float64, at equilibrium, and where the naive form overflows."""

import math

import pytest
import torch
from helpers import compose, overrides
from torch import Tensor

from gancli.errors import UsageError
from gancli.losses.adversarial import LSGAN, Hinge, Minimax, NonSaturating, Wasserstein, verdicts
from gancli.losses.relativistic import Relativistic
from gancli.training.build import build
from gancli.training.turn import run_turn

LOSSES = {"minimax": Minimax, "nonsaturating": NonSaturating}
SIMPLE = LOSSES | {"lsgan": LSGAN, "hinge": Hinge, "wasserstein": Wasserstein}


def scores(n: int = 256) -> tuple[Tensor, Tensor]:
    return tuple(torch.randn(2, n, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3)


def log_sigmoid(x: float) -> float:
    return math.log(1 / (1 + math.exp(-x)))


# What each player pays per image, as its paper writes it: (D for a real one, D for a fake one, G for its own).
SLOW = {
    "minimax": (lambda s: -log_sigmoid(s), lambda s: -log_sigmoid(-s), lambda s: log_sigmoid(-s)),
    "nonsaturating": (lambda s: -log_sigmoid(s), lambda s: -log_sigmoid(-s), lambda s: -log_sigmoid(s)),
    "lsgan": (lambda s: 0.5 * (s - 1) ** 2, lambda s: 0.5 * s**2, lambda s: 0.5 * (s - 1) ** 2),
    "hinge": (lambda s: -min(0, -1 + s), lambda s: -min(0, -1 - s), lambda s: -s),
    "wasserstein": (lambda s: -s, lambda s: s, lambda s: -s),
}


@pytest.mark.parametrize("name", SIMPLE)
def test_sum_is_the_papers_definition(name):
    real, fake = scores()
    on_real, on_fake, on_generated = SLOW[name]
    loss = SIMPLE[name]()
    d = sum(loss.discriminator_loss(real, fake).values())
    expected = sum(on_real(s) for s in real.tolist()) / 256 + sum(on_fake(s) for s in fake.tolist()) / 256
    assert d.item() == pytest.approx(expected, rel=1e-12)
    g = sum(loss.generator_loss(fake).values())
    assert g.item() == pytest.approx(sum(on_generated(s) for s in fake.tolist()) / 256, rel=1e-12)


def test_lsgan_takes_other_targets():
    real, fake = scores()
    loss = LSGAN(a=-1, b=1, c=0)
    d = (real - 1).square().mean() / 2 + (fake + 1).square().mean() / 2
    assert sum(loss.discriminator_loss(real, fake).values()).item() == pytest.approx(d.item(), rel=1e-12)
    assert sum(loss.generator_loss(fake).values()).item() == pytest.approx(fake.square().mean().item() / 2, rel=1e-12)
    assert loss.threshold == 0 and LSGAN().threshold == 0.5


def test_values_where_the_players_are_even():
    """At p_g = p_data the discriminator says 1/2: its loss is 2 log 2 and minimax's generator is at -log 2."""
    zero = torch.zeros(8, dtype=torch.float64)
    even = {"minimax": (2 * math.log(2), -math.log(2)), "nonsaturating": (2 * math.log(2), math.log(2))}
    even |= {"hinge": (2, 0), "wasserstein": (0, 0)}
    for name, (d, g) in even.items():
        assert sum(SIMPLE[name]().discriminator_loss(zero, zero).values()).item() == pytest.approx(d, rel=1e-12)
        assert sum(SIMPLE[name]().generator_loss(zero).values()).item() == pytest.approx(g, rel=1e-12)
    half = zero + 0.5  # what least squares says of images that are as often real as not
    assert sum(LSGAN().discriminator_loss(half, half).values()).item() == pytest.approx(0.25)
    relativistic = {"rsgan": math.log(2), "rasgan": math.log(2), "ralsgan": 1, "rahinge": 1}
    for variant, value in relativistic.items():
        loss = Relativistic(variant)
        for players in (loss.discriminator_loss(zero, zero), loss.pair_loss(zero, zero)):
            assert sum(players.values()).item() == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("name", SIMPLE)
def test_finite_with_finite_gradients_at_extreme_logits(name):
    logits = torch.tensor([-1e4, -100.0, 100.0, 1e4], requires_grad=True)
    loss = SIMPLE[name]()
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


def slow_relativistic(variant: str, real: list[float], fake: list[float]) -> float:
    """The paper's discriminator losses, one comparison at a time; the generator's exchange the arguments."""
    n, mr, mf = len(real), sum(real) / len(real), sum(fake) / len(fake)
    if variant == "rsgan":
        return sum(-log_sigmoid(r - f) for r, f in zip(real, fake)) / n
    cost = {
        "rasgan": (lambda d: -log_sigmoid(d), lambda d: -math.log(1 - 1 / (1 + math.exp(-d)))),
        "ralsgan": (lambda d: (d - 1) ** 2, lambda d: (d + 1) ** 2),
        "rahinge": (lambda d: max(0, 1 - d), lambda d: max(0, 1 + d)),
    }[variant]
    return (sum(cost[0](r - mf) for r in real) + sum(cost[1](f - mr) for f in fake)) / n / 2


@pytest.mark.parametrize("variant", ["rsgan", "rasgan", "ralsgan", "rahinge"])
def test_relativistic_losses_are_the_papers_and_the_generators_exchange_the_images(variant):
    real, fake = scores(64)
    loss = Relativistic(variant)
    d, g = sum(loss.discriminator_loss(real, fake).values()), sum(loss.pair_loss(real, fake).values())
    assert d.item() == pytest.approx(slow_relativistic(variant, real.tolist(), fake.tolist()), rel=1e-10)
    assert g.item() == pytest.approx(slow_relativistic(variant, fake.tolist(), real.tolist()), rel=1e-10)


@pytest.mark.parametrize("variant", ["rsgan", "rasgan", "ralsgan", "rahinge"])
def test_relativistic_generators_loss_sees_the_real_images_and_the_means_carry_gradients(variant):
    parts = build(compose("train", overrides("dcgan", "loss=relativistic", f"loss.variant={variant}")))
    batch, values = parts.loader.next(), []
    for image in (batch.image, -batch.image):
        torch.manual_seed(0)
        values.append(sum(parts.loss.generator_term(parts.model, batch._replace(image=image)).values()).item())
    assert values[0] != values[1]
    real, fake = (s.requires_grad_() for s in scores(4))
    own, others = ("pair", "pair") if variant == "rsgan" else ("fake", "real")
    (grad,) = torch.autograd.grad(parts.loss.pair_loss(real, fake)[own], real)
    (of_fake,) = torch.autograd.grad(parts.loss.discriminator_loss(real, fake)[others], fake)
    assert grad.abs().min() > 0 and of_fake.abs().min() > 0


STATISTICS = ("D(", "score(", "accuracy", "distance", "named(", "domain accuracy", "bound", "ada/")


@pytest.mark.parametrize(
    "words",
    [["dcgan", "stabilizer=ada"], ["dcgan", "loss=fgan"], ["dcgan", "loss=relativistic"], ["wgan"], ["acgan"],
     ["cyclegan"], ["stargan"]],
    ids=" ".join,
)  # fmt: skip
def test_what_is_only_recorded_carries_no_gradient(words):
    """A step minimises the sum of all that carries one."""
    parts = build(compose("train", overrides(*words)))
    values = {}
    for step in parts.steps:
        for term in step.phase.terms:
            values |= term.fn(parts.model, parts.loader.next())
    recorded = {key: value for key, value in values.items() if key.startswith(STATISTICS)}
    assert recorded and not any(value.requires_grad for value in recorded.values())
    assert all(value.requires_grad for key, value in values.items() if key not in recorded)


def test_wasserstein_records_the_distance_it_estimates():
    assert Wasserstein().verdicts(torch.tensor([3.0, 5.0]), torch.tensor([1.0, 2.0]))["distance"].item() == 2.5


def test_verdicts():
    values = verdicts(torch.tensor([1.0, 2.0, -1.0, 3.0]), torch.tensor([-1.0, 1.0, 0.0, -2.0]))
    assert values["accuracy"].item() == pytest.approx((3 / 4 + 3 / 4) / 2)
    assert values["D(real)"].item() == pytest.approx(torch.tensor([1.0, 2.0, -1.0, 3.0]).sigmoid().mean().item())
    values = LSGAN().verdicts(torch.tensor([0.4, 0.6]), torch.tensor([0.2, 0.1]))
    assert values["accuracy"].item() == pytest.approx(0.75) and values["score(real)"].item() == pytest.approx(0.5)
    values = Relativistic("rahinge").verdicts(torch.tensor([8.0, 10.0]), torch.tensor([9.5, 7.5]))
    assert values["accuracy"].item() == pytest.approx((1 / 2 + 1 / 2) / 2)


@pytest.mark.parametrize("repeat", [1, 5])
def test_phases(repeat):
    phases = NonSaturating(repeat).phases(None)
    assert [(p.name, p.networks, p.repeat) for p in phases] == [
        ("discriminator", ("discriminator",), repeat),
        ("generator", ("generator",), 1),
    ]


def test_warmup_counts_critic_updates_per_generator_update():
    """The release's rule at small numbers: 4 for the first 2 generator updates and at every 3rd, 2 otherwise."""
    loss = ["loss=wasserstein", "loss.repeat=2", "loss.warmup=2", "loss.warmup_every=3", "loss.warmup_repeat=4"]
    parts = build(compose("train", overrides("dcgan", *loss)))
    critic, generator = parts.steps

    class Silent:
        def add(self, scalars): ...

    counts, images = [], []
    for _ in range(7):
        before = critic.updates
        images.append(parts.images + 8 * parts.batches())
        run_turn(parts, Silent(), measure=False)
        assert parts.images == images[-1]
        counts.append(critic.updates - before)
    assert counts == [4, 4, 2, 4, 2, 2, 4] and generator.updates == 7


@pytest.mark.parametrize("loss", ["hinge", "relativistic"])
def test_the_generator_may_draw_more_images_than_the_batch_has(loss, monkeypatch):
    parts = build(compose("train", overrides("cgan", f"loss={loss}", "loss.generator_batch=3")))
    sizes, latents = [], []
    drawn, latent = parts.model.generate, parts.model.latent
    monkeypatch.setattr(parts.model, "generate", lambda z, y: sizes.append((len(z), len(y))) or drawn(z, y))
    monkeypatch.setattr(parts.model, "latent", lambda n: latents.append(latent(n)) or latents[-1])
    for step in parts.steps:
        step(parts.loader.next())
    assert sizes == [(8, 8), (24, 24)]
    assert len(torch.cat(latents).unique(dim=0)) == 32  # no latent twice


def test_the_generators_loss_is_the_mean_over_its_own_batch():
    """With all latents equal a larger batch changes nothing."""
    values = []
    for k in (1, 4):
        parts = build(compose("train", overrides("mlp_gan", f"loss.generator_batch={k}", "model.drop_input=0",
                                                 "model.drop_hidden=0")))  # fmt: skip
        parts.model.latent = lambda n: torch.full((n, 100), 0.3)
        values.append(parts.loss.generator_term(parts.model, parts.loader.next())["fake"].item())
    assert values[0] == pytest.approx(values[1], rel=1e-6)


@pytest.mark.parametrize(
    "on, said",
    [
        (["loss.generator_batch=0"], "generator_batch=0: must be 1 or more"),
        (["loss=relativistic", "loss.variant=rsgan", "loss.generator_batch=2"], "rsgan compares each real image"),
    ],
)
def test_impossible_batches_are_refused(on, said):
    with pytest.raises(UsageError, match=said):
        build(compose("train", overrides("dcgan", *on)))
