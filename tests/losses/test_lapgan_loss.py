"""LAPGAN's loss: the sum of games that share nothing, each on real coarse images; its parts, penalties and players."""

from functools import partial

import pytest
import torch
from helpers import compose, overrides, run
from torch.nn.functional import softplus

from gancli.data.spec import Batch, ImageSpec
from gancli.errors import UsageError
from gancli.losses.adversarial import Hinge, NonSaturating, Wasserstein
from gancli.losses.lapgan import LAPGANLoss
from gancli.losses.penalties import R1, GradientPenalty, WeightClipping
from gancli.losses.stabilizers import SmoothLabels
from gancli.models.lapgan import LAPGAN
from gancli.nn import laplacian
from gancli.training.build import build

SIZE = {"latent_dim": 5, "width": 3, "discriminator_width": 3, "hidden": 8, "discriminator_hidden": 8, "smallest": 4}
LEVELS = ("4", "8", "16")


def parts(adversarial=NonSaturating, conditional=False, adversarial_args=None, **kwargs):
    torch.manual_seed(0)
    spec = ImageSpec(1, 16, 16, num_classes=3 * conditional)
    model = LAPGAN(spec, dropout=0.0, conditional=conditional, **SIZE).double()
    model.noise = lambda *args, drawn=model.noise: drawn(*args).double()
    image = torch.rand(6, 1, 16, 16).double() * 2 - 1
    label = torch.arange(6) % 3 if conditional else None
    loss = LAPGANLoss(adversarial=partial(adversarial, **(adversarial_args or {})), **kwargs)
    return model, Batch(image, label, progress=torch.zeros(())), loss


@pytest.mark.parametrize("conditional", [False, True])
def test_each_level_is_the_papers_game_on_real_coarse_images(conditional, monkeypatch):
    model, batch, loss = parts(conditional=conditional)
    noise = [torch.rand(6, size).double() for size in model.latents]
    monkeypatch.setattr(model, "noise", lambda level, n, generator=None: noise[level])
    discriminator, generator = loss.phases(model)
    d, g = (phase.terms[0].fn(model, batch) for phase in (discriminator, generator))
    real = laplacian.gaussian(batch.image, 3)
    for level, name in enumerate(LEVELS):
        if level:
            up = laplacian.up(real[level - 1])
            fake = up + model.generator[name](noise[level], up, batch.label)
        else:
            fake = model.generator[name](noise[0], batch.label)
        s_real, s_fake = (model.discriminator[name](each, batch.label) for each in (real[level], fake))
        assert d[f"real/{name}"].item() == pytest.approx(softplus(-s_real).mean().item(), rel=1e-12)
        assert d[f"fake/{name}"].item() == pytest.approx(softplus(s_fake).mean().item(), rel=1e-12)
        assert g[f"fake/{name}"].item() == pytest.approx(softplus(-s_fake).mean().item(), rel=1e-12)
        assert not d[f"accuracy/{name}"].requires_grad
    assert len(g) == 3 and len(d) == 3 * 5


@pytest.mark.parametrize("player", [0, 1])
def test_a_level_s_loss_has_no_gradient_in_another_level(player):
    model, batch, loss = parts()
    phase = loss.phases(model)[player]
    network = model.get_submodule(phase.networks[0])
    for name in LEVELS:
        model.zero_grad()
        found = phase.terms[0].fn(model, batch)
        sum(v for key, v in found.items() if key.endswith(f"/{name}") and v.requires_grad).backward()
        for other in LEVELS:
            moved = any(p.grad is not None and p.grad.any() for p in network[other].parameters())
            assert moved == (other == name)


def test_any_adversarial_loss_is_the_game_of_every_level():
    model, batch, loss = parts(Hinge, adversarial_args={"repeat": 3})
    assert loss.phases(model)[0].repeat == 3 and loss.has_players and loss.game is loss.adversarial
    found = loss.discriminator_term(model, batch)
    for level, name in enumerate(LEVELS):
        score = model.score_level(level, laplacian.gaussian(batch.image, 3)[level])
        assert found[f"real/{name}"].item() == pytest.approx((1 - score).relu().mean().item())
    warmed = parts(Wasserstein, adversarial_args={"warmup": 2, "warmup_repeat": 7})
    assert callable(warmed[2].phases(warmed[0])[0].repeat)
    with pytest.raises(ValueError, match="not an adversarial loss"):
        LAPGANLoss(adversarial=partial(LAPGANLoss))


def test_the_generator_draws_generator_batch_images_per_real_one():
    model, batch, loss = parts(conditional=True, adversarial_args={"generator_batch": 2})
    seen = {}

    def kept(level, image, label=None, real=model.score_level):
        seen[level] = (len(image), label)
        return real(level, image, label)

    model.score_level = kept
    loss.generator_term(model, batch)
    assert all(n == 12 and torch.equal(label, batch.label.repeat(2)) for n, label in seen.values())


def test_penalties_and_stabilizers_act_on_every_level_at_its_size():
    penalties = {"r1": R1(2.0), "gradient_penalty": GradientPenalty(), "clip": WeightClipping(0.01)}
    model, batch, loss = parts(
        penalties=penalties, generator_penalties={"r1": R1()}, stabilizers={"smooth_labels": SmoothLabels(0.9)}
    )
    discriminator, generator = loss.phases(model)
    assert len(discriminator.terms) == 3 and len(generator.terms) == 2
    found = discriminator.terms[1].fn(model, batch)
    for level, name in enumerate(LEVELS):
        image = laplacian.gaussian(batch.image, 3)[level].requires_grad_()
        (slope,) = torch.autograd.grad(model.score_level(level, image).sum(), image)
        assert found[f"r1/{name}"].item() == pytest.approx(slope.square().sum((1, 2, 3)).mean().item())
    assert {*generator.terms[1].fn(model, batch)} == {f"r1/{name}" for name in LEVELS}
    smoothed = discriminator.terms[0].fn(model, batch)
    score = model.score_level(2, batch.image)
    expected = 0.9 * softplus(-score) + 0.1 * softplus(score)
    assert smoothed["real/16"].item() == pytest.approx(expected.mean().item())
    with torch.no_grad():
        discriminator.after(model)
    assert max(p.abs().max().item() for p in model.discriminator.parameters()) <= 0.01


def test_acgan_and_other_families_are_refused():
    with pytest.raises(UsageError, match="predicts classes"):
        build(compose("train", overrides("lapgan", "loss/adversarial=acgan")))
    with pytest.raises(UsageError, match="LAPGANLoss trains LAPGAN models"):
        build(compose("train", overrides("dcgan", "loss=lapgan")))


@pytest.mark.parametrize(
    "more",
    [
        ["loss/adversarial=wasserstein", "penalty=[gradient_penalty,drift]"],
        ["loss/adversarial=relativistic", "stabilizer=[diffaugment]", "model.conditional=true"],
        ["loss/adversarial=fgan", "stabilizer=[instance_noise]"],
        ["loss=nonsaturating"],  # end to end, through the chain and the sum of the scores
    ],
)
def test_combinations_train_and_the_doctor_examines_both_players(more, tmp_path):
    values = run(tmp_path, "images=64", "doctor.every=32", *more, model="lapgan")
    assert all(value == value for value in values.values())
    assert "doctor/auc" in (tmp_path / "metrics.jsonl").read_text()


def test_the_papers_recipe_halves_the_discriminators_rate():
    parts = build(compose("train", overrides("lapgan_paper")))
    rates = {key: values["lr"] for step in parts.steps for key, values in step.settings().items()}
    assert rates == {"discriminator": 0.01, "generator": 0.02}
    assert parts.loss.game.generator_batch == 2 and parts.schedule(0, 1).momentum == 0
    epochs = parts.schedule(875 * 45_000, 1)  # .7 / .0008 epochs
    assert epochs.momentum == pytest.approx(0.7) and epochs.lr == pytest.approx(1.00004**-875)
