"""Losses of translation against slow float64 twins; who is updated; the decay; resume with the pool."""

import math

import pytest
import torch
from helpers import compose, overrides, run, tensors
from torch.nn.functional import softplus

from gancli.data.spec import Batch, ImageSpec
from gancli.errors import UsageError
from gancli.losses.adversarial import LSGAN, Hinge, NonSaturating, Wasserstein
from gancli.losses.penalties import GradientPenalty
from gancli.losses.relativistic import Relativistic
from gancli.losses.stabilizers import FlipLabels, SmoothLabels
from gancli.losses.translation import CycleLoss, PairLoss, StarLoss, shuffled
from gancli.models.cyclegan import CycleGAN
from gancli.models.pix2pix import Pix2Pix
from gancli.models.stargan import StarGAN
from gancli.training import checkpoint
from gancli.training.build import build
from gancli.training.turn import run_turn

SIZE = {"width": 2, "discriminator_width": 2}


def two_domains(**loss):
    torch.manual_seed(0)
    model = CycleGAN(ImageSpec(3, 8, 8, source_channels=3), blocks=1, **SIZE).double()
    batch = Batch(*(torch.randn(3, 3, 8, 8).double().clamp(-1, 1) if i != 1 else None for i in range(3)))
    return model, batch._replace(progress=torch.zeros(())), CycleLoss(**{"adversarial": partial_of(LSGAN), **loss})


def partial_of(kind, **kwargs):
    from functools import partial

    return partial(kind, **kwargs)


def mean(values: torch.Tensor, cost) -> float:
    """The mean over all patches of all pictures, one at a time."""
    flat = values.flatten().tolist()
    return sum(cost(v) for v in flat) / len(flat)


def l1(a: torch.Tensor, b: torch.Tensor) -> float:
    return sum(abs(x - y) for x, y in zip(a.flatten().tolist(), b.flatten().tolist())) / a.numel()


def test_cyclegan_values_are_the_papers_with_its_weights():
    """L = (D(G(a)) - 1)^2 + 10 |F(G(a)) - a|_1 + 5 |G(b) - b|_1, and half of the squares for the discriminators."""
    model, batch, loss = two_domains()
    generators, discriminators = loss.phases(model)
    assert generators.networks == ("generators",) and discriminators.networks == ("discriminators",)
    a, b = batch.source, batch.image
    g, f = model.generators["a2b"], model.generators["b2a"]
    found = generators.terms[0].fn(model, batch)
    expected = {
        "fake/a2b": mean(model.score(g(a), "b"), lambda s: (s - 1) ** 2),
        "fake/b2a": mean(model.score(f(b), "a"), lambda s: (s - 1) ** 2),
        "cycle/a2b": 10 * l1(f(g(a)), a),
        "cycle/b2a": 10 * l1(g(f(b)), b),
        "identity/a2b": 5 * l1(g(b), b),
        "identity/b2a": 5 * l1(f(a), a),
    }
    assert {k: v.item() for k, v in found.items()} == pytest.approx(expected, rel=1e-9)
    loss.pools.double()
    d = discriminators.terms[0].fn(model, batch)  # the pool is filling: what it returns is what it is given
    for to, real, fake in (("b", b, g(a)), ("a", a, f(b))):
        assert d[f"real/{to}"].item() == pytest.approx(mean(model.score(real, to), lambda s: (s - 1) ** 2 / 2))
        assert d[f"fake/{to}"].item() == pytest.approx(mean(model.score(fake, to), lambda s: s**2 / 2), rel=1e-5)


WEIGHTS = {"cyclegan": (1.0, 0.5), "pix2pix": (1.0, 0.5), "stargan": (1.0, 1.0)}  # the papers', of whole squares


@pytest.mark.parametrize("model", WEIGHTS)
@pytest.mark.parametrize("adversarial", ["lsgan", "hinge", "nonsaturating", "wasserstein", "relativistic"])
def test_only_least_squares_are_doubled_for_being_halved(model, adversarial):
    loss = build(compose("train", overrides(model, f"loss/adversarial={adversarial}"))).loss
    factor = 2 if adversarial == "lsgan" else 1
    assert (loss.gan, loss.discriminator) == tuple(factor * weight for weight in WEIGHTS[model])
    typed = ["loss.gan=0.3", "loss.discriminator=2"]
    loss = build(compose("train", overrides(model, f"loss/adversarial={adversarial}", *typed))).loss
    assert (loss.gan, loss.discriminator) == (0.3, 2.0)  # what is typed, or saved by an earlier release, stays


def test_the_pool_is_for_the_discriminators_alone():
    model, batch, loss = two_domains(pool=2)
    generators, discriminators = loss.phases(model)
    loss.pools.double()
    generators.terms[0].fn(model, batch)
    assert loss.pools["a"].filled == 0
    discriminators.terms[0].fn(model, batch)
    assert loss.pools["a"].filled == loss.pools["b"].filled == 2
    assert torch.allclose(loss.pools["b"].images[0], model.generators["a2b"](batch.source)[0])


def test_pix2pix_values_are_the_papers():
    torch.manual_seed(0)
    model = Pix2Pix(ImageSpec(1, 8, 8, source_channels=3, paired=True), dropout=0.0, **SIZE).double()
    batch = Batch(torch.rand(2, 1, 8, 8).double(), None, torch.rand(2, 3, 8, 8).double(), torch.zeros(()))
    discriminator, generator = PairLoss(adversarial=partial_of(NonSaturating)).phases(model)
    fake = model.translate(batch.source)
    pair = lambda image: model.discriminators["b"](torch.cat([batch.source, image], 1))  # noqa: E731
    log = lambda p: -math.log(p)  # noqa: E731
    expected = {
        "fake": mean(pair(fake).sigmoid(), log), "l1": 100 * l1(fake, batch.image),
    }  # fmt: skip
    assert {k: v.item() for k, v in generator.terms[0].fn(model, batch).items()} == pytest.approx(expected, rel=1e-6)
    d = discriminator.terms[0].fn(model, batch)
    assert d["real"].item() == pytest.approx(mean(pair(batch.image).sigmoid(), log) / 2, rel=1e-6)
    assert d["fake"].item() == pytest.approx(mean(1 - pair(fake).sigmoid(), log) / 2, rel=1e-6)


def test_stargan_values_are_the_papers(monkeypatch):
    torch.manual_seed(0)
    model = StarGAN(ImageSpec(3, 8, 8, num_classes=3), blocks=1, **SIZE).double()
    label, target = torch.tensor([0, 1, 2, 1]), torch.tensor([1, 2, 0, 1])
    monkeypatch.setattr("gancli.losses.translation.shuffled", lambda label: target)
    batch = Batch(torch.rand(4, 3, 8, 8).double() * 2 - 1, label, None, torch.zeros(()))
    loss = StarLoss(adversarial=partial_of(Wasserstein), penalties={"gp": GradientPenalty()})
    discriminator, generator = loss.phases(model)
    assert discriminator.repeat == 5
    fake = model.move(batch.image, target)

    def entropy(logits, wanted):
        return sum(-row.log_softmax(0)[k].item() for row, k in zip(logits, wanted.tolist())) / len(logits)

    found = {k: v.item() for k, v in generator.terms[0].fn(model, batch).items()}
    assert found == pytest.approx({
        "fake": -model.judge(fake)[0].mean().item(),
        "classification": entropy(model.judge(fake)[1], target),
        "reconstruction": 10 * l1(model.move(fake, label), batch.image),  # to where it came from
    }, rel=1e-9)  # fmt: skip
    d = discriminator.terms[0].fn(model, batch)
    assert d["real"].item() == pytest.approx(-model.judge(batch.image)[0].mean().item(), rel=1e-9)
    assert d["fake"].item() == pytest.approx(model.judge(fake)[0].mean().item(), rel=1e-9)
    assert d["classification"].item() == pytest.approx(entropy(model.judge(batch.image)[1], label), rel=1e-9)
    assert sum(v.requires_grad for v in d.values()) == 3
    term = discriminator.terms[1]  # the slope of the sum of all patches, between a real and a generated picture
    assert term.second_order
    state = torch.get_rng_state()
    value = term.fn(model, batch)["gp"]
    torch.set_rng_state(state)
    share = torch.rand(4, 1, 1, 1, dtype=torch.float64)
    x = (fake + share * (batch.image - fake)).detach().requires_grad_()
    (slope,) = torch.autograd.grad(model.judge(x)[0].sum(), x)
    expected = sum(10 * (math.sqrt(sum(v * v for v in row.flatten().tolist())) - 1) ** 2 for row in slope) / 4
    assert value.item() == pytest.approx(expected, rel=1e-6)


def test_stargan_can_be_held_to_pictures_that_are_asked_for_their_own_domain():
    torch.manual_seed(0)
    model = StarGAN(ImageSpec(3, 8, 8, num_classes=3), blocks=1, **SIZE).double()
    batch = Batch(torch.rand(4, 3, 8, 8).double(), torch.tensor([0, 1, 2, 1]), None, torch.zeros(()))
    (term,) = StarLoss(adversarial=partial_of(Wasserstein), identity=0.5).phases(model)[1].terms
    moved = torch.cat([model.translate(x[None], str(y.item())) for x, y in zip(batch.image, batch.label)])
    assert term.fn(model, batch)["identity"].item() == pytest.approx(10 * 0.5 * l1(moved, batch.image), rel=1e-9)
    (term,) = StarLoss(adversarial=partial_of(Wasserstein)).phases(model)[1].terms
    assert "identity" not in term.fn(model, batch)


def test_targets_are_the_batchs_labels_in_random_order():
    torch.manual_seed(0)
    label = torch.arange(1000)
    target = shuffled(label)
    assert sorted(target.tolist()) == label.tolist() and (target == label).float().mean() < 0.02


@pytest.mark.parametrize("kind", [LSGAN, NonSaturating, Hinge, Wasserstein, Relativistic])
def test_any_adversarial_loss_serves(kind):
    """The same objects as for GANs: the generators' values against what the loss says of score maps by itself."""
    model, batch, loss = two_domains(adversarial=partial_of(kind), gan=1.0, cycle=0.0, identity=0.0)
    found = loss.phases(model)[0].terms[0].fn(model, batch)
    fake, real = model.score(model.translate(batch.source, "a2b"), "b"), model.score(batch.image, "b")
    own = kind().generator_loss(fake, lambda: real)
    assert {k: v.item() for k, v in own.items()} == pytest.approx({
        k.removesuffix("/a2b"): v.item() for k, v in found.items() if k.endswith("/a2b") and "cycle" not in k
    })  # fmt: skip
    assert sum(own.values()).ndim == 0


def test_labels_are_those_of_pictures_not_of_patches():
    loss = LSGAN(stabilizers={"flip": FlipLabels(0.5), "smooth": SmoothLabels(0.9)})
    torch.manual_seed(0)
    maps = torch.randn(64, 1, 3, 3)
    real, fake = loss.labels(maps)
    assert real.shape == fake.shape == (64, 1, 1, 1) and real.unique().tolist() == pytest.approx([0, 0.9])
    value = loss.discriminator_loss(maps, maps, (real, fake))["real"]
    slow = sum(
        label * mean(row, lambda s: (s - 1) ** 2 / 2) + (1 - label) * mean(row, lambda s: s**2 / 2)
        for row, label in zip(maps, real.flatten().tolist())
    )
    assert value.item() == pytest.approx(slow / 64, rel=1e-5)
    assert softplus(torch.zeros(())).item() > 0


@pytest.mark.parametrize("model", ["cyclegan", "pix2pix", "stargan"])
def test_each_step_leaves_the_other_players_untouched(model):
    """Weights and gradients: the discriminators' in the generators' update, and the other way round."""
    parts = build(compose("train", overrides(model)))
    batch = parts.loader.next()
    for step in parts.steps:
        other = {"generators": "discriminators", "discriminators": "generators"}[step.phase.networks[0]]
        before = {k: v.clone() for k, v in parts.model.get_submodule(other).state_dict().items()}
        for p in parts.model.parameters():
            p.grad = None
        step(batch)
        after = parts.model.get_submodule(other).state_dict()
        assert all(torch.equal(after[k], v) for k, v in before.items())
        assert all(p.grad is None for p in parts.model.get_submodule(other).parameters())
        assert all(p.grad is not None for p in parts.model.get_submodule(step.phase.networks[0]).parameters())
    assert len(parts.steps) == 2  # one optimizer for all generators, one for all discriminators


@pytest.mark.parametrize("model", ["cyclegan", "pix2pix", "stargan"])
def test_the_learning_rate_is_constant_then_linear_to_zero(model):
    schedule = build(compose("train", overrides(model))).schedule
    assert [schedule(images, 100).lr for images in (0, 50, 75, 100)] == [1, 1, 0.5, 0]


def test_a_resumed_run_needs_its_pool(tmp_path):
    """With the pool the rest of the run is the same bit for bit (test_contract); without it, it is another one."""
    more = ["checkpoint.every=80", "checkpoint.keep=9", "loss.pool=4"]
    run(tmp_path / "whole", "images=160", *more, model="cyclegan")
    saved = checkpoint.load(tmp_path / "whole" / "checkpoints" / checkpoint.name(80))
    pool = {k: v for k, v in saved.state["loss"].items() if k.startswith("pools.b")}
    assert pool["pools.b.filled"] == 4 and pool["pools.b.images"][:4].abs().amin((1, 2, 3)).min() > 0
    ends = []
    for wipe in (False, True):
        parts = build(compose("train", overrides("cyclegan", "images=160", *more)))
        state = checkpoint.load(tmp_path / "whole" / "checkpoints" / checkpoint.name(80))
        if wipe:
            state.state["loss"] = {k: torch.zeros_like(v) for k, v in state.state["loss"].items()}
        parts.restore(state)
        while parts.images < parts.total:
            run_turn(parts, type("Silent", (), {"add": lambda self, scalars: None})(), measure=False)
        ends.append(tensors(parts.state()["model"]))
    last = tensors(checkpoint.load(tmp_path / "whole").state["model"])
    assert all(torch.equal(last[k], v) for k, v in ends[0].items())
    assert not all(torch.equal(last[k], v) for k, v in ends[1].items())


def test_what_does_not_go_together_is_refused():
    spec = ImageSpec(3, 8, 8, source_channels=1)
    with pytest.raises(UsageError, match="loss.identity=0"):
        CycleLoss(adversarial=partial_of(LSGAN)).phases(CycleGAN(spec, blocks=1, **SIZE))
    assert CycleLoss(adversarial=partial_of(LSGAN), identity=0).phases(CycleGAN(spec, blocks=1, **SIZE))
    with pytest.raises(UsageError, match="it is not a subclass of AdversarialLoss"):
        build(compose("train", overrides("cyclegan", "loss/adversarial=nll")))
    with pytest.raises(UsageError, match="its losses are: cyclegan .*loss/adversarial="):
        build(compose("train", overrides("cyclegan", "loss=hinge")))


def test_penalties_and_stabilizers_go_to_both_discriminators():
    parts = build(compose("train", overrides(
        "cyclegan", "loss/adversarial=wasserstein", "penalty=[gradient_penalty,weight_clipping]",
        "stabilizer=instance_noise", "loss.penalties.weight_clipping.c=0.02"
    )))  # fmt: skip
    generators, discriminators = parts.steps
    assert discriminators.phase.updates(0) == 5
    scalars = discriminators(parts.loader.next())
    assert {"discriminators/gradient_penalty/a", "discriminators/gradient_penalty/b"} <= scalars.keys()
    assert max(p.abs().max().item() for p in parts.model.discriminators.parameters()) <= 0.02
    assert max(p.abs().max().item() for p in parts.model.generators.parameters()) > 0.02
    assert any("momentum" in line for line in parts.warnings())
