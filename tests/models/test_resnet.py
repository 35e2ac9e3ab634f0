"""The residual networks of SN-GAN, WGAN-GP and the projection discriminator, and f-GAN's nets, against their papers."""

import pytest
import torch
from helpers import SMALL, compose, overrides, run
from torch import nn
from torch.nn.functional import avg_pool2d, conv2d, interpolate, relu

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.fgan import FGANNets
from gancli.models.projection import Projection
from gancli.models.sngan_resnet import SNGANResNet
from gancli.models.wgan_gp_resnet import WGANGPResNet
from gancli.nn.norm import BatchNorm2d
from gancli.nn.residual import DownBlock, UpBlock, glorot
from gancli.training import checkpoint
from gancli.training.build import build

CIFAR = ImageSpec(3, 32, 32, 10)
KINDS = {"sngan_resnet": SNGANResNet, "projection": Projection, "wgan_gp_resnet": WGANGPResNet}


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_an_upward_block_is_its_formula():
    torch.manual_seed(0)
    block, x = UpBlock(3, 5, BatchNorm2d).double(), torch.randn(4, 3, 4, 6, dtype=torch.float64)

    def normal(h):
        variance = h.var((0, 2, 3), correction=0, keepdim=True)
        return (h - h.mean((0, 2, 3), keepdim=True)) / (variance + 1e-5).sqrt()

    twice = lambda h: h.repeat_interleave(2, -1).repeat_interleave(2, -2)  # noqa: E731
    h = conv2d(twice(relu(normal(x))), block.conv1.weight, padding=1)
    h = conv2d(relu(normal(h)), block.conv2.weight, padding=1)
    assert torch.allclose(block(x), h + conv2d(twice(x), block.shortcut.weight), atol=1e-10)
    assert torch.equal(interpolate(x, scale_factor=2), twice(x))


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("down", [True, False])
def test_a_downward_block_is_its_formula(first, down):
    torch.manual_seed(0)
    block, x = DownBlock(3, 5, down=down, first=first).double(), torch.randn(4, 3, 4, 6, dtype=torch.float64)
    halved = (lambda h: avg_pool2d(h, 2)) if down else (lambda h: h)
    h = conv2d(x if first else relu(x), block.conv1.weight, padding=1)
    h = halved(conv2d(relu(h), block.conv2.weight, padding=1))
    assert torch.allclose(block(x), h + halved(conv2d(x, block.shortcut.weight)), atol=1e-10)  # both orders are one
    assert isinstance(DownBlock(4, 4, down=False).shortcut, nn.Identity)


def test_branches_are_he_uniform_and_all_else_is_glorot_uniform():
    """Uniform within gain * sqrt(6 / (fan in + fan out)): of many weights the largest is near the bound."""
    torch.manual_seed(0)
    for block in (UpBlock(20, 30, BatchNorm2d), DownBlock(20, 30, down=True)):
        for conv, gain in ((block.conv1, 2**0.5), (block.conv2, 2**0.5), (block.shortcut, 1)):
            outputs, inputs, *kernel = conv.weight.shape
            bound = gain * (6 / ((inputs + outputs) * kernel[0] * kernel[1])) ** 0.5
            assert 0.98 * bound < conv.weight.abs().max().item() <= bound and not conv.bias.any()
    assert glorot(nn.Linear(50, 50)).weight.abs().max().item() == pytest.approx((6 / 100) ** 0.5, rel=0.02)


def test_the_networks_are_the_papers_at_32_pixels():
    """Weights and biases of the blocks counted by hand; seed 4x4, three blocks up; four blocks down to 8x8."""
    up = lambda i, o: 9 * i * o + 9 * o * o + i * o + 3 * o  # noqa: E731
    down = lambda i, o, sc=True: 9 * i * o + 9 * o * o + 2 * o + sc * (i * o + o)  # noqa: E731
    d = lambda w: down(3, w) + down(w, w) + 2 * down(w, w, False) + w  # noqa: E731
    g = lambda w, norms: 129 * 16 * w + 3 * up(w, w) + 27 * w + 3 + norms  # noqa: E731
    sn, gp, proj = SNGANResNet(CIFAR), WGANGPResNet(CIFAR), Projection(CIFAR)
    assert parameters(sn.generator) == g(256, 7 * 512) and parameters(sn.discriminator) == d(128)
    assert parameters(gp.generator) == g(128, 7 * 256) and parameters(gp.discriminator) == d(128)
    assert parameters(proj.generator) == g(256, 7 * 512 * 10) and parameters(proj.discriminator) == d(128) + 10 * 128
    for model in (sn, gp, proj):
        assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.discriminator.modules())
        trunk = model.discriminator[0] if model is gp else model.discriminator.trunk
        assert trunk(torch.zeros(1, 3, 32, 32)).shape == (1, 128, 8, 8)


def test_the_score_is_the_sum_over_pixels_or_their_mean():
    torch.manual_seed(0)
    sn, gp = SNGANResNet(CIFAR, width=4, discriminator_width=4).eval(), WGANGPResNet(CIFAR, width=4).eval()
    image = torch.randn(2, 3, 32, 32)
    h = sn.discriminator.trunk(image)
    expected = (h.sum((2, 3)) @ sn.discriminator.linear.weight.T)[:, 0]
    assert torch.allclose(sn.score(image), expected, rtol=1e-4)
    h = gp.discriminator[0](image)
    assert torch.allclose(gp.score(image), (h.mean((2, 3)) @ gp.discriminator[3].weight.T)[:, 0], rtol=1e-4)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("size, channels", [(8, 1), (28, 1), (48, 3), (64, 3)])
def test_sizes(name, size, channels):
    more = {} if name == "wgan_gp_resnet" else {"discriminator_width": 2}
    model = KINDS[name](ImageSpec(channels, size, size, 3), width=2, **more)
    image = model.sample(2, generator=torch.Generator().manual_seed(0))
    assert image.shape == (2, channels, size, size) and model.score(image, torch.tensor([0, 2])).shape == (2,)


@pytest.mark.parametrize("name", KINDS)
def test_each_brings_its_papers_recipe(name):
    parts = build(compose("train", overrides(name, "images=1000")))
    optimizer = parts.steps[0].optimizer.param_groups[0]
    assert (optimizer["lr"], tuple(optimizer["betas"])) == (2e-4, (0.0, 0.9))
    assert (parts.loss.repeat, parts.loss.generator_batch) == (5, 2)
    assert [parts.schedule(i, 1000).lr for i in (0, 500, 1000)] == pytest.approx([1, 0.5, 0])
    assert type(parts.loss).__name__ == ("Wasserstein" if name == "wgan_gp_resnet" else "Hinge")
    assert list(parts.loss.penalties) == (["gradient_penalty"] if name == "wgan_gp_resnet" else [])
    assert parts.warnings() == [] and compose("train", [f"model={name}", *SMALL[:-2]]).batch_size == 64


@pytest.mark.parametrize("name", ["sngan_resnet", "projection"])
def test_every_weight_is_spectrally_normal_and_stays_so(name, tmp_path):
    """Within 1 to 1.05 of norm 1 after some updates, in the checkpoint too; nothing moves in eval mode."""
    run(tmp_path, "images=800", "data.size=16", "optimizer.lr=1e-3", model=name)
    saved = checkpoint.load(tmp_path)
    net = checkpoint.rebuild(saved).discriminator
    layers = [m for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear, nn.Embedding))]
    assert len(layers) == 3 * 2 + 1 + 1 + (name == "projection")
    found = [torch.linalg.matrix_norm(m.weight.flatten(1), 2).item() for m in layers]
    assert all(1 - 1e-4 < sigma < 1.05 for sigma in found)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    net(torch.randn(3, 1, 16, 16), *([torch.tensor([0, 1, 2])] if name == "projection" else []))
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    vectors = {k: v for k, v in saved.state["model"].items() if k.endswith(("._u", "._v"))}
    assert len(vectors) == 2 * len(layers)
    assert all(torch.equal(before[k.removeprefix("discriminator.")], v) for k, v in vectors.items())


def test_sizes_of_nothing_are_refused():
    for make in (lambda: SNGANResNet(CIFAR, width=0), lambda: SNGANResNet(CIFAR, discriminator_width=0)):
        with pytest.raises(ValueError, match="width=0 must be 1 or more"):
            make()
    with pytest.raises(UsageError, match="30x30"):
        WGANGPResNet(ImageSpec(1, 30, 30))


def test_fgan_has_the_papers_sizes():
    model = FGANNets(ImageSpec(1, 28, 28))
    assert parameters(model.generator) == 100 * 1200 + 1200 * 1200 + 1201 * 784 + 2 * 2 * 1200
    assert parameters(model.discriminator) == 785 * 240 + 241 * 240 + 241
    assert sum(isinstance(m, nn.ELU) for m in model.discriminator) == 2
    z = model.latent(4000, torch.Generator().manual_seed(0))
    assert z.abs().max() <= 1 and z.var().item() == pytest.approx(1 / 3, abs=0.01)
    cfg = compose("train", ["model=fgan", *SMALL])
    assert cfg.loss._target_.endswith(".FGAN") and cfg.optimizer.lr == 2e-4
