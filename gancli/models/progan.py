"""Progressive GAN: Karras, Aila, Laine & Lehtinen 2018, Progressive Growing of GANs.

Growing networks (models/growing.py), weights with an equalized learning rate, pixel norm after every activation of the
generator, the minibatch's standard deviation as a feature of the discriminator, leaky ReLU .2, 3x3 convolutions, images
without a tanh (table 2). WGAN-GP with one critic update per generator update, and a drift term (appendix A).

The discriminator's blocks mirror the generator's: two convolutions and an average of 2x2 pixels. ``progan_paper`` is
the release's preset for CIFAR-10 (branch original-theano-version, config.py): 128 channels throughout, 128 latents,
batches of 16, 400,000 images per part of the growth, 20M in all, and gradients of norm 750 instead of 1.

Deviations: as many levels as DCGAN has stages, and a seed of 4 to 7 pixels (28 pixels: 7, 14, 28); one batch size for
all levels; the small recipe learns at eight times the rate.

    gancli train model=progan data=mnist
"""

import math

import torch
from torch import Tensor, nn

from gancli.data.spec import ImageSpec
from gancli.models.base import NormalPrior
from gancli.models.growing import (
    Growing,
    GrowingGAN,
    GrowingGenerator,
    Growth,
    double,
    fade,
    halve,
    level_widths,
)
from gancli.nn.adain import Blur
from gancli.nn.equalized import SQRT2, EqualizedConv2d, EqualizedLinear, PixelNorm
from gancli.nn.minibatch_std import spread
from gancli.ranges import Share, Units


class ProGAN(GrowingGAN, NormalPrior):
    """Growing networks for 8 to 128 pixels.

    Args:
        spec: shape of the images.
        latent_dim: number of normal latents, which the generator normalises.
        width: channels next to the image; they double with each level away from it.
        max_width: the most channels.
        minibatch_std: images per group of the minibatch standard deviation; 0: without.
        grown: share of the run after which the networks are complete; 0: they are from the start, and have no layers
            for smaller images.

    Raises:
        UsageError: the image's size has no 4- to 7-pixel seed.
        ValueError: ``width`` is below 1, or ``minibatch_std`` is negative.
    """

    bf16_pays = True
    channels_last_pays = True

    def __init__(
        self,
        spec: ImageSpec,
        latent_dim: Units = 128,
        width: Units = 128,
        max_width: Units = 128,
        minibatch_std: int = 16,
        grown: Share = 0.12,
    ) -> None:
        super().__init__(spec, latent_dim)
        widths, seed = level_widths(spec, width, max_width)
        self.growth = Growth(len(widths), grown)
        first = self.growth.first
        self.generator = ProGANGenerator(spec.channels, latent_dim, widths, seed, first)
        self.discriminator = ProGANDiscriminator(spec.channels, widths, seed, first, minibatch_std=minibatch_std)


class ProGANGenerator(GrowingGenerator):
    """(N, latent_dim) -> (N, channels, H, W) without bounds.

    Args:
        channels: of the images.
        latent_dim: number of latents.
        widths: channels of each level, from the smallest.
        seed: height and width of the smallest level.
        first: the level that training begins with.
    """

    def __init__(
        self, channels: int, latent_dim: int, widths: list[int], seed: tuple[int, int], first: int = 0
    ) -> None:
        super().__init__(channels, widths, first)
        self.seed = nn.Sequential(
            PixelNorm(),
            Seed(latent_dim, widths[0], seed),
            nn.LeakyReLU(0.2),
            PixelNorm(),
            *_layer(widths[0], widths[0]),
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(*_layer(inner, outer), *_layer(outer, outer)) for inner, outer in zip(widths, widths[1:])
        )

    def features(self, x: Tensor) -> list[Tensor]:  # (N, latent_dim) -> [(N, width, H, W)]
        found = [self.seed(x)]
        for block in list(self.blocks)[: self.stage.level]:
            found.append(block(double(found[-1])))
        return found


class Seed(nn.Module):
    """A dense layer without an activation, with one bias per channel, as that of a convolution. (N, d) -> (N, C, H, W).

    Its weights are smaller than the fan-in asks for, as in the release: features of normalised latents begin at .354.

    Args:
        latent_dim: number of latents d.
        width: channels C.
        size: H and W.
    """

    def __init__(self, latent_dim: int, width: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.shape = (width, *size)
        self.dense = EqualizedLinear(latent_dim, math.prod(self.shape), gain=SQRT2 / 4, bias=None)
        self.bias = nn.Parameter(torch.zeros(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(x).unflatten(1, self.shape) + self.bias


def _layer(inputs: int, outputs: int) -> list[nn.Module]:
    return [EqualizedConv2d(inputs, outputs, 3, gain=SQRT2), nn.LeakyReLU(0.2), PixelNorm()]


class ProGANDiscriminator(Growing):
    """(N, channels, H, W) -> (N,) scores.

    Args:
        channels: of the images.
        widths: channels of each level, from the smallest.
        seed: height and width of the smallest level.
        first: the level that training begins with.
        minibatch_std: images per group of the minibatch standard deviation; 0: without.
        blur: StyleGAN's blocks: features are blurred before the convolution whose output is halved, and halved before
            the activation instead of after it.
    """

    def __init__(
        self,
        channels: int,
        widths: list[int],
        seed: tuple[int, int],
        first: int = 0,
        *,
        minibatch_std: int = 4,
        blur: bool = False,
    ) -> None:
        super().__init__(len(widths), first)
        self.from_image = nn.ModuleDict(
            {str(level): _conv(channels, widths[level], 1) for level in range(first, len(widths))}
        )
        block = _blurred_block if blur else _block
        self.blocks = nn.ModuleList(block(outer, inner) for inner, outer in zip(widths, widths[1:]))
        told = spread(minibatch_std)
        self.judge = nn.Sequential(
            *told,
            _conv(widths[0] + len(told), widths[0]),
            nn.Flatten(),
            EqualizedLinear(widths[0] * math.prod(seed), widths[0], gain=SQRT2),
            nn.LeakyReLU(0.2),
            EqualizedLinear(widths[0], 1),
            nn.Flatten(0),
        )

    def forward(self, image: Tensor) -> Tensor:
        level, image = self.stage.level, self.shrunk(image)
        x = self.from_image[str(level)](image)
        for i in reversed(range(level)):
            x = self.blocks[i](x)
            if self.stage.fading and i == level - 1:
                x = fade(self.from_image[str(i)](halve(image)), x, self.alpha)
        return self.judge(x)


def _conv(inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(EqualizedConv2d(inputs, outputs, kernel, gain=SQRT2), nn.LeakyReLU(0.2))


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(_conv(inputs, inputs), _conv(inputs, outputs), nn.AvgPool2d(2))


def _blurred_block(inputs: int, outputs: int) -> nn.Sequential:
    conv, activation = _conv(inputs, outputs)
    return nn.Sequential(_conv(inputs, inputs), Blur(), nn.Sequential(conv, nn.AvgPool2d(2), activation))
