"""Projection of pictures: an image of the model is found again, the recipe against twins, and nothing is changed."""

import copy
import math

import pytest
import torch
from helpers import DATA, compose, options, overrides
from torch import nn
from torch.nn.functional import avg_pool2d

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models import inversion
from gancli.models import style as styles
from gancli.models.base import Adversarial
from gancli.models.dcgan import DCGAN
from gancli.models.inversion import Settings, correlation, invert, ramp, searchable, space_of
from gancli.models.kde import KDE
from gancli.models.likeness import Likeness, pyramid
from gancli.models.stylegan import StyleGAN
from gancli.models.stylegan2 import StyleGAN2
from gancli.models.toy_gan import ToyGAN
from gancli.training.build import build

SPEC = ImageSpec(1, 8, 8, 3)
GROWN = {"progan": ["model.grown=1"], "stylegan": ["model.grown=1", "model.start=4"]}


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(styles, "MEAN_OF", 500)


def style_based(kind=StyleGAN2, **kwargs):
    torch.manual_seed(0)
    net = kind(SPEC, latent_dim=8, width=8, mapping=2, **kwargs).eval()
    with torch.no_grad():
        for name, each in net.generator.synthesis.named_parameters():
            each.mul_(0.9 if "images" in name and "bias" not in name else 1)  # most pixels within [-1, 1]
            each.add_(0.05 if "strength" in name else 0)
    return net


def test_an_image_of_the_model_is_found_again():
    net = style_based()
    w = net.style(net.latent(3, torch.Generator().manual_seed(1))).detach()
    target = net.synthesise(w).clamp(-1, 1).detach()
    assert target.std() > 0.3  # so that an image without any likeness would not pass
    found = invert(net, target, None, Settings("w", 150), milestones=[15, 50])
    errors = [(each - target).square().mean().item() for each in (found.after[15], found.after[50], found.image)]
    assert errors[2] < 0.002 and errors[2] < errors[1] / 2 < errors[0] / 4
    off = (found.latent - w[:, :1]).norm(dim=2).mean()
    assert off < 0.5 * (net.mean_style() - w[:, 0]).norm(dim=1).mean()
    assert found.curve.shape == (150, 3) and (found.distance < 0.1 * found.curve[0]).all()
    assert found.latent.shape == (3, 1, 8) and sorted(found.after) == [15, 50]
    again = net.synthesise(found.latent.expand(-1, net.styles, -1)).clamp(-1, 1)
    assert torch.equal(again, found.image)  # the latents alone, with the model's own noise


@pytest.mark.parametrize("kind", [DCGAN, StyleGAN2])
def test_other_models_are_searched_in_z_from_several_starts(kind):
    net = style_based() if kind is StyleGAN2 else DCGAN(SPEC, latent_dim=4, width=4).eval()
    with torch.no_grad():
        for each in net.generator.parameters():
            each.mul_(1 if kind is StyleGAN2 else 20)  # DCGAN's fresh images are all but grey
    target = net.sample(2, generator=torch.Generator().manual_seed(1)).detach()
    one, many = (invert(net, target, None, Settings("z", 40, restarts=n)) for n in (1, 6))
    assert (many.distance <= one.distance + 1e-6).all() and (many.distance < 0.5 * many.curve[0]).all()
    assert torch.allclose(net.generate(many.latent).clamp(-1, 1), many.image, atol=1e-5)
    if kind is DCGAN:
        assert many.latent.abs().max() <= 1  # the prior is uniform on [-1, 1]


def test_each_layer_has_its_style_in_w_plus():
    net = style_based(StyleGAN, grown=0.0)
    ws = net.style(net.latent(4, torch.Generator().manual_seed(2))).detach()
    target = net.synthesise(torch.cat([ws[:2, :2], ws[2:, 2:]], 1)).clamp(-1, 1).detach()  # of two styles each
    plain, plus = (invert(net, target, None, Settings(space, 80)) for space in ("w", "w+"))
    assert plus.latent.shape == (2, net.styles, 8) and plus.latent.std(1).min() > 0
    assert plus.distance.mean() < plain.distance.mean()


def test_the_seed_decides_and_neither_batches_nor_companions():
    net = style_based()
    target = net.sample(3, generator=torch.Generator().manual_seed(3)).detach()
    base = invert(net, target, None, Settings("w", 12, restarts=2))
    for same in (invert(net, target, None, Settings("w", 12, restarts=2)),
                 invert(net, target, None, Settings("w", 12, restarts=2), batch_size=1)):  # fmt: skip
        torch.testing.assert_close(same.latent, base.latent, atol=1e-4, rtol=1e-3)
    alone = invert(net, target[1:2], None, Settings("w", 12, restarts=2))
    torch.testing.assert_close(alone.latent, base.latent[1:2], atol=1e-4, rtol=1e-3)
    assert not torch.allclose(invert(net, target, None, Settings("w", 12, seed=1)).latent, base.latent, atol=1e-3)


def test_classes_have_mean_styles_of_their_own():
    net = style_based(conditional=True)
    label = torch.tensor([2, 0])
    target = net.sample(2, label=label, generator=torch.Generator().manual_seed(3)).detach()
    found = invert(net, target, label, Settings("w", 1))  # the first step has a learning rate of 0
    assert torch.equal(found.latent[:, 0], net.mean_style()[label])


@pytest.mark.parametrize("space", ["w", "z"])
def test_nothing_in_the_model_changes(space):
    net = style_based(minibatch_std=2)
    net.generator.train()  # as it was, not as it should be
    before, modes = copy.deepcopy(net.state_dict()), [each.training for each in net.modules()]
    needs = [each.requires_grad for each in net.parameters()]
    invert(net, torch.zeros(2, *SPEC.shape), None, Settings(space, 3))
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert modes == [each.training for each in net.modules()]
    assert all(each.grad is None for each in net.parameters()) and needs == [p.requires_grad for p in net.parameters()]
    assert not any(each._forward_hooks for each in net.modules())


def test_weights_need_no_gradients():
    net = style_based().requires_grad_(False)
    image = torch.zeros(2, *SPEC.shape, requires_grad=True)
    likeness = Likeness(net)
    distance = likeness.distance(image, likeness.look(torch.ones(2, *SPEC.shape)))
    (slope,) = torch.autograd.grad(distance.sum(), image)
    assert slope.abs().sum() > 0


def test_the_distance_is_that_of_a_twin():
    """One dense layer as a discriminator's feature: sums by hand, in float64."""

    class Tiny(DCGAN):
        def __init__(self):
            super().__init__(SPEC, latent_dim=4, width=4)
            self.discriminator = nn.Sequential(
                nn.Flatten(), nn.Linear(64, 5), nn.Tanh(), nn.Linear(5, 1), nn.Flatten(0)
            )

    torch.manual_seed(0)
    net = Tiny().double().eval()
    net.latent = lambda n, generator=None: torch.rand(n, 4, 1, 1, generator=generator).double() * 2 - 1
    one, other = torch.rand(2, 3, *SPEC.shape, dtype=torch.float64)
    likeness = Likeness(net)
    found = likeness.distance(one, likeness.look(other))
    drawn = net.sample(64, generator=torch.Generator().manual_seed(0))
    layer = net.discriminator[1]
    variance = layer(drawn.flatten(1)).var(0, correction=0)
    unit = (variance + 0.01 * variance.mean() + 1e-12).sqrt()
    expected = ((layer(one.flatten(1)) - layer(other.flatten(1))) / unit).square().mean(1)
    for side in (8, 4, 2):
        shrunk = (one - other).reshape(3, 1, side, 8 // side, side, 8 // side).mean((3, 5))
        expected = expected + shrunk.square().mean((1, 2, 3)) / 3
    torch.testing.assert_close(found, expected)
    assert [tuple(each.shape[2:]) for each in pyramid(torch.zeros(1, 1, 7, 5))] == [(7, 5), (4, 3), (2, 2)]


def test_images_are_not_mixed_by_a_minibatch_deviation():
    net = style_based(minibatch_std=2)
    likeness = Likeness(net)
    x = torch.rand(4, *SPEC.shape)
    for whole, part in zip(likeness.look(x)[1], likeness.look(x[:1])[1], strict=True):
        torch.testing.assert_close(whole[:1], part)
    more = len(Likeness(style_based(minibatch_std=0)).units)
    assert len(likeness.units) == 4 and more == 6  # without it, the two layers behind it count, too; the logit never


def test_the_learning_rate_is_that_of_the_recipe():
    assert [ramp(t) for t in (0, 0.025, 0.05, 0.5, 0.75)] == pytest.approx([0, 0.5, 1, 1, 1])
    assert ramp(0.875) == pytest.approx(0.5) and ramp(0.999) < 1e-4


def test_the_noise_regulariser_is_that_of_a_twin():
    noise = torch.randn(2, 1, 16, 16, dtype=torch.float64)
    expected = [0.0, 0.0]
    for side in (16, 8):
        for i, each in enumerate(avg_pool2d(noise, 16 // side)[:, 0].numpy()):
            for a, b in ((0, 1), (1, 0)):
                products = [each[y, x] * each[(y - a) % side, (x - b) % side] for y in range(side) for x in range(side)]
                expected[i] += (sum(products) / side**2) ** 2
    assert correlation(noise).tolist() == pytest.approx(expected)


def test_noise_maps_are_optimised_and_stay_noise(monkeypatch):
    net, kept = style_based(), []
    search = inversion._Search
    monkeypatch.setattr(search, "_now", lambda self, now=search._now: kept.append(self) or now(self))
    invert(net, torch.zeros(2, *SPEC.shape), None, Settings("w", 10))
    for name, each in kept[-1].noise.items():
        assert not torch.allclose(each, net.noise_maps()[name].expand_as(each))
        torch.testing.assert_close(each.mean((1, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
        torch.testing.assert_close(each.square().mean((1, 2, 3)), torch.ones(2))
    assert len(kept[-1].noise) == 3


def test_what_cannot_be_searched_is_refused():
    for model in (KDE(ImageSpec(1, 4, 4)), ToyGAN(ImageSpec(2, 1, 1, points=True))):
        with pytest.raises(UsageError, match="has no latents of images to search; use a GAN"):
            searchable(model)
    dcgan = DCGAN(SPEC, latent_dim=4, width=4).eval()
    with pytest.raises(UsageError, match="space=w: DCGAN has no styles; use space=z"):
        space_of(dcgan, "w")
    with pytest.raises(UsageError, match="space=v: allowed are z, w, w"):
        space_of(dcgan, "v")
    with torch.no_grad():
        next(dcgan.generator.parameters()).fill_(math.nan)
    with pytest.raises(UsageError, match="not finite"):
        invert(dcgan, torch.zeros(1, *SPEC.shape), None, Settings("z", 2, lr=1.0))


@pytest.mark.parametrize("name", [each for each in options("model") if each not in DATA])
def test_every_gan_of_images_can_be_searched(name):
    """Those that grow in the middle of their growth; the discriminator's features are there, and the best is kept."""
    model = build(compose("train", overrides(name, *GROWN.get(name, [])))).model.eval()
    if not isinstance(model, Adversarial):
        with pytest.raises(UsageError, match="has no latents"):
            searchable(model)
        return
    if name in GROWN:
        model.enter(model.stage(0.5))
        model.advance(0.5)
    label = torch.tensor([1, 0]) if model.conditional else None
    target = model.sample(2, label=label, generator=torch.Generator().manual_seed(1)).detach()
    settings = Settings(space_of(model, None), 12, restarts=2)
    found = invert(model, target, label, settings)
    assert found.image.shape == target.shape and found.image.abs().max() <= 1
    assert (found.distance <= 1.1 * found.curve[0]).all() and Likeness(model).units  # CGAN draws its dropout in z
