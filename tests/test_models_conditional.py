"""Conditional GANs against their papers: sizes, what the yaml picks, where the label enters."""

import math

import pytest
import torch
from helpers import SMALL
from torch import nn

from gancli.config import compose
from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.cgan import CGAN
from gancli.nn.labels import one_hot, with_maps
from gancli.run import build

MNIST = ImageSpec(1, 28, 28, num_classes=10)


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_codes_and_maps():
    code = one_hot(torch.tensor([2, 0]), 3)
    assert code.tolist() == [[0, 0, 1], [1, 0, 0]]
    x = torch.randn(2, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    both = with_maps(x, code)
    assert torch.equal(both[:, :2], x) and both.shape == (2, 5, 4, 5)
    assert torch.equal(both[:, 2:], code[:, :, None, None] * torch.ones(4, 5))


def test_cgan_is_the_papers():
    model = CGAN(MNIST)
    g = 101 * 200 + 11 * 1000 + 1201 * 1200 + 1201 * 784
    d = 785 * 240 * 5 + 11 * 50 * 5 + 291 * 240 * 4 + 241
    assert (parameters(model.generator), parameters(model.discriminator)) == (g, d)
    for net, irange in ((model.generator, 0.05), (model.discriminator, 0.005)):
        for layer in (m for m in net.modules() if isinstance(m, nn.Linear)):
            assert layer.weight.abs().max() <= irange and layer.weight.std() > irange / 2 and not layer.bias.any()
    z = model.latent(2000, torch.Generator().manual_seed(0))
    assert z.min() >= 0 and z.max() <= 1 and z.mean().item() == pytest.approx(0.5, abs=0.01)
    assert sum(isinstance(m, nn.Dropout) for m in model.modules()) == 6


def test_cgan_brings_its_papers_recipe():
    cfg = compose("train", ["model=cgan", *SMALL[:-2], "runtime=cpu"])
    assert cfg.batch_size == 100 and cfg.optimizer.lr == 0.1 and cfg.optimizer.momentum == 0.5
    rates = build(cfg).schedule
    assert rates(100, 10**9).lr == pytest.approx(1 / 1.00004)
    assert rates(10**8, 10**9).lr * cfg.optimizer.lr == pytest.approx(1e-6)
    assert rates(12_500_000, 10**9).momentum == pytest.approx(0.7)


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: CGAN(ImageSpec(1, 28, 28)), "needs|draws images of a class"),
        (lambda: CGAN(MNIST, latent_dim=0), "latent_dim=0"),
        (lambda: CGAN(MNIST, width=0.01), "width=0.01 leaves no units"),
        (lambda: CGAN(MNIST, drop=1.5), "probability"),
    ],
)
def test_impossible_settings_are_refused(make, said):
    with pytest.raises((UsageError, ValueError), match=said):
        make()


@pytest.mark.parametrize("make", [lambda: CGAN(MNIST, width=0.1)])
def test_both_networks_look_at_the_label(make):
    torch.manual_seed(0)
    model = make().eval()
    z, image = model.latent(2), torch.rand(2, 1, 28, 28) * 2 - 1
    a, b = torch.tensor([0, 0]), torch.tensor([0, 7])
    for f in (lambda y: model.generate(z, y), lambda y: model.score(image, y)):
        same, other = (f(a) - f(b)).flatten(1).abs().amax(1) if f(a).ndim > 1 else (f(a) - f(b)).abs()
        assert same == 0 and other > 0
    assert model.score(image, a).shape == (2,) and math.prod(model.generate(z, a).shape) == 2 * 784
