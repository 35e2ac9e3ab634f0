"""R3GAN: Huang et al. 2024, The GAN is dead; long live the GAN! A Modern Baseline GAN.

A loss that is shown to converge locally, the relativistic pairing loss with R1 and R2, and networks without tricks
(section 3): residual blocks without normalisation, 1x1 - grouped 3x3 - 1x1 with twice the channels inside, whose last
layer starts at zero, so that a fresh block is the identity; bilinear resampling between them; a learned constant per
channel, scaled by the latents, at the generator's start, and a depthwise convolution at the discriminator's end.

Recipe (their table 9): learning rate, gamma, Adam's beta2, the half-life of the averaged weights and the probability of
augmentation follow one cosine over a burn-in (nn/annealed.py). `model=r3gan_paper` has the sizes and numbers of
CIFAR-10; `model=r3gan` is small, and its numbers are gancli's own.

Deviations: both players share a batch of real images, where the release draws another for the generator; the number
of stages follows the image's size (dcgan.py), and so does the side of the seed, 4 to 7; samples are clipped to [-1, 1].

    gancli train model=r3gan data=mnist
"""

import math
from typing import TypeVar

import torch
from torch import Generator as RandomGenerator
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from gancli.data.spec import ImageSpec
from gancli.models.base import NormalPrior
from gancli.models.dcgan import pyramid
from gancli.nn.resample import doubled, halved
from gancli.ranges import Depth, Units

SLOPE = 0.2
EXPANSION = 2  # channels inside a block, as a multiple of those between blocks

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


class R3GAN(NormalPrior):
    """Residual networks without normalisation for 8 to 128 pixels.

    Args:
        spec: shape and classes of the images.
        latent_dim: number of normal latents, and of the numbers per class that a conditional generator adds to them.
        width: channels next to the image; they double with each stage away from it.
        max_width: upper limit of the channels. CIFAR-10: width = max_width = 768; FFHQ at 256 pixels: 96 and 768.
        blocks: residual blocks per stage and network.
        group: channels per group of the grouped convolutions.
        conditional: whether images depend on their class.

    Raises:
        UsageError: the image's size has no 4- to 7-pixel seed, or ``conditional`` and the data has no classes.
        ValueError: ``width`` is above ``max_width``, or a group does not divide the channels inside a block.
    """

    channels_last_pays = True

    def __init__(
        self,
        spec: ImageSpec,
        latent_dim: Units = 64,
        width: Units = 768,
        max_width: Units = 768,
        blocks: Depth = 2,
        group: Units = 16,
        conditional: bool = False,
    ) -> None:
        self.conditional = conditional
        super().__init__(spec, latent_dim)
        outer, seed = pyramid(spec, width)
        if width > max_width:
            raise ValueError(f"width={width} must be at most max_width={max_width}")
        widths = [min(each, max_width) for each in (*outer, 2 * outer[-1])]  # from the image to the seed
        for each in widths:
            if EXPANSION * each % group:
                raise ValueError(f"group={group} must divide {EXPANSION * each}, the channels inside a block")
        classes = spec.num_classes if conditional else 0
        self.generator = Generator(latent_dim, widths[::-1], blocks, group, spec.channels, seed, classes)
        self.discriminator = Discriminator(spec.channels, widths, blocks, group, seed, classes)

    def score(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        return self.discriminator(image, label)

    def generate(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Map latents, (N, latent_dim), and labels to (N, C, H, W), which training lets leave [-1, 1]: no tanh."""
        return self.generator(z, label)

    def sample(
        self,
        n: int,
        *,
        label: Tensor | None = None,
        source: Tensor | None = None,
        generator: RandomGenerator | None = None,
    ) -> Tensor:
        return super().sample(n, label=label, source=source, generator=generator).clamp(-1, 1)


def scaled(layer: Layer, gain: float = 1.0) -> Layer:
    """Return the layer with weights N(0, gain^2 / fan in) and a bias of zero."""
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def one_by_one(inputs: int, outputs: int) -> nn.Module:
    """Return a 1x1 convolution without bias between two numbers of channels."""
    return scaled(nn.Conv2d(inputs, outputs, 1, bias=False))


class Block(nn.Module):
    """x + W3 a(W2 a(W1 x)): 1x1, grouped 3x3, 1x1; a is a leaky ReLU of its input plus a bias.

    The initial scale keeps the variance through a leaky ReLU (He et al. 2015) and, as of Fixup (Zhang et al. 2019), is
    multiplied by V^(-1/4), V the number of the network's blocks; W3 is zero.

    Args:
        width: channels of x.
        group: channels per group of the 3x3 convolution.
        total: V.
    """

    def __init__(self, width: int, group: int, total: int) -> None:
        super().__init__()
        inner, gain = EXPANSION * width, math.sqrt(2 / (1 + SLOPE**2)) * total**-0.25
        self.expand = scaled(nn.Conv2d(width, inner, 1), gain)
        self.mix = scaled(nn.Conv2d(inner, inner, 3, padding=1, groups=inner // group), gain)
        self.contract = scaled(nn.Conv2d(inner, width, 1, bias=False), 0.0)

    def forward(self, x: Tensor) -> Tensor:  # (N, width, H, W) -> the same
        h = leaky_relu(self.expand(x), SLOPE)
        return x + self.contract(leaky_relu(self.mix(h), SLOPE))


class Up(nn.Module):
    """A 1x1 convolution if the number of channels changes, then x2. (N, inputs, H, W) -> (N, outputs, 2H, 2W)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.channels = one_by_one(inputs, outputs) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return doubled(self.channels(x))


class Down(nn.Module):
    """/2, then a 1x1 convolution if the number of channels changes. (N, inputs, H, W) -> (N, outputs, H/2, W/2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.channels = one_by_one(inputs, outputs) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.channels(halved(x))


class Generator(nn.Module):
    """A basis, blocks and x2 per stage, a 1x1 convolution to the image.

    Args:
        latent_dim: number of latents, and of those that a class adds.
        widths: channels of each stage, from the seed to the image.
        blocks: per stage.
        group: see Block.
        channels: of the image.
        seed: height and width of the first stage.
        classes: number of classes that images depend on; 0: none.
    """

    def __init__(
        self,
        latent_dim: int,
        widths: list[int],
        blocks: int,
        group: int,
        channels: int,
        seed: tuple[int, int],
        classes: int = 0,
    ) -> None:
        super().__init__()
        self.table = table(classes, latent_dim)
        self.basis = nn.Parameter(torch.randn(widths[0], *seed))
        self.scale = scaled(nn.Linear(latent_dim * (2 if classes else 1), widths[0], bias=False))
        layers: list[nn.Module] = []
        for inputs, width in zip((None, *widths), widths):
            layers += [] if inputs is None else [Up(inputs, width)]
            layers += [Block(width, group, blocks * len(widths)) for _ in range(blocks)]
        self.trunk, self.image = nn.Sequential(*layers), one_by_one(widths[-1], channels)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """(N, latent_dim), (N,) -> (N, channels, H, W), unbounded."""
        if self.table is not None:
            z = torch.cat([z, self.table(label)], 1)
        return self.image(self.trunk(self.basis * self.scale(z)[:, :, None, None]))


class Discriminator(nn.Module):
    """A 1x1 convolution, blocks and /2 per stage, a depthwise convolution of the seed's size, a linear layer.

    With classes the linear layer has as many outputs as inputs, whose inner product with the class's embedding is the
    score (Miyato & Koyama 2018, without their unconditional term).

    Args:
        channels: of the image.
        widths: channels of each stage, from the image to the seed.
        blocks: per stage.
        group: see Block.
        seed: height and width of the last stage.
        classes: number of classes that scores depend on; 0: none.
    """

    def __init__(
        self, channels: int, widths: list[int], blocks: int, group: int, seed: tuple[int, int], classes: int = 0
    ) -> None:
        super().__init__()
        self.image, last = one_by_one(channels, widths[0]), widths[-1]
        layers: list[nn.Module] = []
        for width, outputs in zip(widths, (*widths[1:], None)):
            layers += [Block(width, group, blocks * len(widths)) for _ in range(blocks)]
            layers += [] if outputs is None else [Down(width, outputs)]
        self.trunk, self.basis = nn.Sequential(*layers), scaled(nn.Conv2d(last, last, seed, groups=last, bias=False))
        self.linear = scaled(nn.Linear(last, last if classes else 1, bias=False))
        self.table = table(classes, last, 1 / math.sqrt(last))

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """(N, channels, H, W), (N,) -> (N,) logits."""
        h = self.linear(self.basis(self.trunk(self.image(image))).flatten(1))
        return h.squeeze(1) if self.table is None else (h * self.table(label)).sum(1)


def table(classes: int, units: int, gain: float = 1.0) -> nn.Embedding | None:
    """Return an embedding with weights N(0, gain^2 / classes), as of a linear layer of one-hot labels, or None."""
    if not classes:
        return None
    embedding = nn.Embedding(classes, units)
    nn.init.normal_(embedding.weight, 0.0, gain / math.sqrt(classes))
    return embedding
