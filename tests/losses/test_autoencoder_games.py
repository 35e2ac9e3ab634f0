"""Autoencoders that play against a discriminator: whose gradient is whose, the weight of the game, and its features."""

import numpy as np
import pytest
import torch
from helpers import NoHostSync, compose, overrides
from torch import nn

from gancli.errors import UsageError
from gancli.losses.elbo import ELBO
from gancli.losses.vae_gan import unlikeness
from gancli.losses.vqgan import MOST, adaptive_weight, distance
from gancli.training.build import build
from gancli.training.run import Run

VECTORS = ["quantiser@model.quantiser=vq", "model.quantiser.codes=5", "model.quantiser.dim=3",
           "model.quantiser.learning=gradient"]  # fmt: skip


def made(model: str, *more: str) -> Run:
    words = [word for word in overrides(model, *more) if VECTORS[0] not in more or "quantiser.sizes" not in word]
    return build(compose("train", words))


def gradients(run: Run, *phases: str) -> dict[str, torch.Tensor]:
    """Return the gradients of all parameters after the backward passes of phases, without their updates."""
    batch, found = run.loader.next(), {}
    for step in run.steps:
        if step.phase.name in phases:
            step.optimizer.step = lambda *args, **kwargs: None
            torch.manual_seed(1)
            step(batch)
            found |= {name: p.grad.clone() for name, p in run.model.named_parameters() if p.grad is not None}
            step.optimizer.zero_grad(set_to_none=True)
    return found


def by_hand(run: Run, loss, networks: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """Return the gradients of a loss, a function of the images, for the networks that it is meant to reach."""
    run.model.requires_grad_(True)
    chosen = {name: p for name, p in run.model.named_parameters() if name.partition(".")[0] in networks}
    torch.manual_seed(1)
    slopes = torch.autograd.grad(loss(run.loader.next().image), list(chosen.values()), allow_unused=True)
    return {name: each for name, each in zip(chosen, slopes) if each is not None}


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    close = [torch.allclose(found[name], expected[name], rtol=1e-4, atol=1e-5) for name in expected]
    return found.keys() == expected.keys() and all(close) and any(each.abs().max() > 1e-4 for each in found.values())


def posterior(model, x):
    mean, log_var = model.encoder(x).chunk(2, 1)
    z = mean + (log_var / 2).exp() * torch.randn(1, *mean.shape)[0]
    return z, ((mean.square() + log_var.exp() - 1 - log_var) / 2).sum(1).mean()


def error(model, picture, x):
    """Return half the squared distance after the discriminator's first layer, the only strided one for 8 pixels."""
    return (model.discriminator[:2](picture) - model.discriminator[:2](x)).square().sum((1, 2, 3)).mean() / 2


def fools(model, picture):
    return torch.nn.functional.softplus(-model.discriminator(picture)).mean()


def test_each_network_of_vae_gan_learns_from_its_own_part():
    """Algorithm 1: KL and features; gamma features and the game; the game of three kinds of pictures."""

    def encoder(x):
        z, kl = posterior(model, x)
        return kl + error(model, model.decoder(z), x)

    def decoder(x):
        with torch.no_grad():
            z = posterior(model, x)[0]
        reconstruction = model.decoder(z)
        prior = model.decoder(torch.randn(len(x), 3))
        return 0.5 * error(model, reconstruction, x) + (fools(model, reconstruction) + fools(model, prior)) / 2

    def discriminator(x):
        with torch.no_grad():
            fakes = model.decoder(posterior(model, x)[0]), model.decoder(torch.randn(len(x), 3))
        unfooled = [torch.nn.functional.softplus(model.discriminator(each)).mean() for each in fakes]
        return fools(model, x) + sum(unfooled) / 2

    for loss in (encoder, decoder, discriminator):
        run, again = (made("vae_gan", "loss.gamma=0.5") for _ in range(2))
        model = again.model
        found = gradients(run, loss.__name__)
        assert same(found, by_hand(again, loss, (loss.__name__,))), loss.__name__


def test_the_terms_of_a_vqgan_reach_the_autoencoder_and_the_discriminator_alone():
    def scaled(each):
        return each * x.numel() / len(x)

    def autoencoder(x):
        found = model.quantiser(model.encoder(x))
        picture = model.decoder(found.value)
        felt, wanted = (model.judge(each)[1] for each in (picture, x))
        off = picture - x
        rec = scaled(off.abs().mean() + 0.7 * off.square().mean() + 0.2 * distance(felt, wanted))
        gan = scaled((model.judge(picture)[0] - 1).square().mean() / 2)
        last = model.decoder[-1].weight
        norms = [torch.autograd.grad(each, last, retain_graph=True)[0].norm() for each in (rec, gan)]
        weights.append((norms[0] / (norms[1] + 1e-6)).item())
        penalties = model.quantiser.penalties(model.encoder(x), found)
        return rec + 0.3 * weights[0] * gan + sum(penalties.values())

    run, again = (made("vqgan", "loss.gan=0.3", "loss.squared=0.7", "loss.features=0.2", *VECTORS) for _ in range(2))
    model, weights, x = again.model, [], torch.empty(8, 1, 8, 8)
    expected = by_hand(again, autoencoder, ("encoder", "decoder", "quantiser"))
    found = gradients(run, "autoencoder")
    assert same(found, expected) and weights[0] > 0.01
    assert {name.partition(".")[0] for name in expected} == {"encoder", "decoder", "quantiser"}
    assert {name.partition(".")[0] for name in gradients(run, "discriminator")} == {"discriminator"}


def test_before_the_discriminator_joins_there_are_only_distances():
    run = made("vqgan", "model.joins=0.3", "images=80")
    model, batch = run.model, run.loader.next()
    term, kept = run.steps[0].phase.terms[0].fn, {"l1", "squared", "features"}
    assert not model.playing and {name for name, each in term(model, batch).items() if each.requires_grad} == kept
    picture = model.decode(model.code(batch.image))
    expected = (picture - batch.image).abs().sum((1, 2, 3)).mean()
    assert term(model, batch)["l1"].item() == pytest.approx(expected.item(), rel=1e-6)
    run.enter(0.3, reset=False)
    assert model.playing and {"l1", "features", "fake"} <= term(model, batch).keys()
    run.enter(0.4, reset=False)
    assert model.learned and not model.playing
    with pytest.raises(UsageError, match=r"model.joins=0.5: the discriminator would never join"):
        made("vqgan", "model.joins=0.5")


def test_the_adaptive_weight_is_the_ratio_of_two_norms():
    """The last layer is linear: the gradients of sum(a W x) and sum(b W x) are a x and b x, whatever the weights."""
    x, layer = torch.randn(7, 4, dtype=torch.float64), nn.Linear(4, 3, bias=False).double()
    out = layer(x).sum(0)
    a, b = torch.tensor([3.0, -1.0, 2.0]).double(), torch.tensor([0.1, 0.2, -0.2]).double()
    column = x.sum(0).norm()
    with NoHostSync():
        found = adaptive_weight((a * out).sum(), (b * out).sum(), layer.weight, 0.01)
        most = adaptive_weight((a * out).sum(), (0 * out).sum(), layer.weight, 1e-9)
    assert found.item() == pytest.approx((a.norm() * column / (b.norm() * column + 0.01)).item(), rel=1e-12)
    assert most.item() == MOST and not found.requires_grad


def test_distances_of_features_are_those_of_twins_in_float64():
    rng = np.random.RandomState(0)
    shapes = ((2, 3, 2, 2), (2, 5, 1, 2))
    one, other = ([rng.randn(*shape) for shape in shapes] for _ in range(2))
    unit = lambda f: f / np.sqrt((f**2).sum(1, keepdims=True) + 1e-10)  # noqa: E731
    expected = sum(((unit(a) - unit(b)) ** 2).sum(1).mean() for a, b in zip(one, other))
    tensors = [[torch.from_numpy(each) for each in maps] for maps in (one, other)]
    assert distance(*tensors).item() == pytest.approx(expected, rel=1e-12)
    assert distance(*[[each.float() for each in maps] for maps in tensors]).item() == pytest.approx(expected, rel=1e-5)
    assert distance([3 * each for each in tensors[0]], tensors[0]).item() == pytest.approx(0, abs=1e-9)
    halves = sum(((a - b) ** 2).sum() for a, b in zip(one, other)) / 2 / 2
    assert unlikeness(*tensors).item() == pytest.approx(halves, rel=1e-12)


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("vqgan", ("penalty=[r1,drift]", "stabilizer=[diffaugment]", "loss/adversarial=wasserstein")),
        ("vqgan", ("penalty=weight_clipping", "loss/adversarial=relativistic", "loss.adaptive=false")),
        ("vae_gan", ("penalty=gradient_penalty", "stabilizer=[smooth_labels]", "loss/adversarial=hinge")),
        ("vae_gan", ("generator_penalty=[orthogonal_relaxed]", "loss/adversarial=relativistic")),
    ],
)
def test_any_game_of_the_project_is_a_part_and_nothing_waits(model, more):
    run, found = made(model, *more), []
    with NoHostSync():
        for step in run.steps:
            found.append(step(run.loader.next()))
    assert all(each.isfinite() for values in found for each in values.values())
    if "penalty=weight_clipping" in more:
        assert max(p.abs().max() for p in run.model.discriminator.parameters()) <= 0.01


def test_no_bound_is_reported_of_a_model_without_a_likelihood_of_pixels():
    for name in ("vqgan", "vae_gan"):
        run = made(name)
        held_out = run.model.held_out()
        assert held_out.kind == "none" and held_out.nats is None and {"pictures", "errors"} <= held_out.says.keys()
        assert not {"nats", "elbo", "iwae"} & held_out.says.keys() and run.loss.nats(run.model, None) is None
        with pytest.raises(UsageError, match="no likelihood of pixels|learns its codes"):
            ELBO().check(run.model)


def test_the_decoder_of_vqgan_starts_at_the_mean_colour():
    model = build(compose("train", overrides("vqgan"))).model
    pixels = torch.full((8, *model.spec.shape), 51, dtype=torch.uint8)
    model.fit_data(pixels)
    colour = torch.full((model.spec.channels,), 51 / 127.5 - 1)
    torch.testing.assert_close(model.decoder[-1].bias, colour)
