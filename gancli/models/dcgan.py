"""DCGAN: Radford, Metz & Chintala 2016, Unsupervised Representation Learning with Deep Convolutional GANs.

Section 3's rules: strided convolutions instead of pooling; batch norm in every layer except the generator's output and
the discriminator's input layer; ReLU, then tanh at the output, in the generator; leaky ReLU .2 in the discriminator; no
hidden dense layers. All weights N(0, .02), 100 uniform latents, Adam with learning rate 2e-4 and beta1 .5.

The paper draws one size (64). Here each network has as many x2 stages as fit between the image and a seed of 4 to 7
pixels: 8 = 4*2, 28 = 7*4, 32 = 4*8, 64 = 4*16, 128 = 4*32; widths double per stage, as in the paper's Figure 1.

With two stages or fewer (up to 31 pixels) a unit of the discriminator's last feature maps sees only 10x10 pixels of the
image, and nothing judges a digit as a whole. The authors' own MNIST networks (Newmu/dcgan_code,
mnist/train_cond_dcgan.py, where a label enters each layer) have a hidden dense layer with batch norm in both: 1024
units beside 64 channels. So do these (``hidden``) at such sizes; from three stages on, the paper's rule holds.

Deviations: 4x4 kernels, as in the authors' Torch release (the Theano release has 5x5), a multiple of the stride.

    gancli train model=dcgan data=mnist
"""

import math
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.base import Adversarial
from gancli.nn.flatten import Flatten
from gancli.nn.init import dcgan_
from gancli.nn.minibatch_std import spread
from gancli.ranges import Units


def stages(spec: ImageSpec) -> int:
    """Return the number of x2 stages between the image and the seed, whose shorter side has 4 to 7 pixels.

    Raises:
        UsageError: a side is not divisible that often, or the image is smaller than 8 or larger than 128 pixels.
    """
    sides = (spec.height, spec.width)
    count = (min(sides) // 4).bit_length() - 1
    if not all(8 <= side <= 128 and side % 2**count == 0 for side in sides):
        raise UsageError(
            f"this model cannot generate {spec.size} images: a side must be 4 to 7 times a power of two "
            "and from 8 to 128; try data.size=32 or data.size=64"
        )
    return count


def pyramid(spec: ImageSpec, width: int) -> tuple[list[int], tuple[int, int]]:
    """Return the channels of each stage, from the image inwards, and the seed's height and width.

    Raises:
        UsageError: see stages().
        ValueError: ``width`` is below 1.
    """
    if width < 1:
        raise ValueError(f"width={width} must be 1 or more")
    count = stages(spec)
    return [width << i for i in range(count)], (spec.height >> count, spec.width >> count)


def dense_units(hidden: int | None, spec: ImageSpec, width: int) -> int:
    """Return the units of the hidden dense layers; ``None``: 16 per channel next to the image up to two stages, then 0.

    Raises:
        ValueError: ``hidden`` is negative.
    """
    if hidden is None:
        return 16 * width if stages(spec) <= 2 else 0
    if hidden < 0:
        raise ValueError(f"hidden={hidden} must be 0 or more")
    return hidden


class DCGAN(Adversarial):
    """Convolutional generator and discriminator for 8 to 128 pixels, any number of channels.

    Args:
        spec: shape of the images.
        latent_dim: number of uniform latents.
        width: channels next to the image; they double with each stage away from it.
        discriminator_norm: batch; or none, for penalties on the slope at each image, which batch norm makes depend on
            all of them.
        minibatch_std: images per group whose spread the discriminator's dense layers are told (4 in Progressive GAN);
            0: they are not.
        hidden: units of a dense layer next to the seed of both networks; 0: none, as in every checkpoint that does not
            name it; None: see dense_units().

    Raises:
        UsageError: the image's size has no 4- to 7-pixel seed.
        ValueError: ``width`` is below 1, or ``hidden`` is negative.
    """

    bf16_pays = True
    channels_last_pays = True

    def __init__(
        self,
        spec: ImageSpec,
        latent_dim: Units = 100,
        width: Units = 64,
        discriminator_norm: Literal["batch", "none"] = "batch",
        minibatch_std: int = 0,
        hidden: int | None = 0,
    ) -> None:
        super().__init__(spec)
        self.latent_dim = latent_dim
        widths, seed = pyramid(spec, width)
        units, norm = dense_units(hidden, spec, width), discriminator_norm == "batch"
        self.generator = generator(latent_dim, widths[::-1], spec.channels, seed, units)
        self.discriminator = discriminator(
            spec.channels, widths, seed, norm=norm, minibatch_std=minibatch_std, hidden=units
        )
        self.apply(dcgan_)

    def latent(self, n: int, generator: Generator | None = None) -> Tensor:
        """Uniform on [-1, 1]. (n, latent_dim, 1, 1)."""
        return torch.rand(n, self.latent_dim, 1, 1, device=self.device, generator=generator) * 2 - 1


def generator(
    latent_dim: int, widths: list[int], channels: int, seed: tuple[int, int], hidden: int = 0
) -> nn.Sequential:
    """(N, latent_dim, 1, 1) -> (N, channels, H, W) in (-1, 1); ``hidden``: units of a dense layer before the seed."""
    if hidden:
        layers = _dense_seed(latent_dim, hidden, (widths[0], *seed))
    else:
        # A 1x1 input makes this transposed convolution the paper's "project and reshape".
        layers = [nn.ConvTranspose2d(latent_dim, widths[0], seed, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()]
    for inner, outer in zip(widths, widths[1:]):
        layers += [nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=False), nn.BatchNorm2d(outer), nn.ReLU()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1), nn.Tanh())


def _dense_seed(latent_dim: int, hidden: int, start: tuple[int, int, int]) -> list[nn.Module]:
    """(N, latent_dim, 1, 1) -> (N, *start) through a dense layer; linear layers, for they are the faster here."""
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, units in ((latent_dim, hidden), (hidden, math.prod(start))):
        layers += [nn.Linear(inputs, units, bias=False), nn.BatchNorm1d(units), nn.ReLU()]
    return [*layers, nn.Unflatten(1, start)]


def discriminator(
    channels: int,
    widths: list[int],
    seed: tuple[int, int],
    *,
    norm: bool = True,
    minibatch_std: int = 0,
    hidden: int = 0,
    outputs: int = 1,
) -> nn.Sequential:
    """(N, channels, H, W) in [-1, 1] -> (N,) logits, or (N, outputs) if there are several.

    Args:
        channels: of the images.
        widths: channels of each stage, from the image inwards.
        seed: height and width of the last feature maps.
        norm: whether all layers but the first and the last have batch norm.
        minibatch_std: see DCGAN.
        hidden: units of a dense layer between the last feature maps and the logit; 0: none.
        outputs: logits per image.
    """
    layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 4, 2, 1), nn.LeakyReLU(0.2)]
    for outer, inner in zip(widths, widths[1:]):
        layers.append(nn.Conv2d(outer, inner, 4, 2, 1, bias=not norm))
        layers += [nn.BatchNorm2d(inner), nn.LeakyReLU(0.2)] if norm else [nn.LeakyReLU(0.2)]
    told = spread(minibatch_std)
    layers += told
    inputs, flat = widths[-1] + len(told), nn.Flatten(0 if outputs == 1 else 1)
    if not hidden:
        return nn.Sequential(*layers, nn.Conv2d(inputs, outputs, seed), flat)
    layers += [Flatten(), nn.Linear(inputs * math.prod(seed), hidden, bias=not norm)]
    layers += [nn.BatchNorm1d(hidden), nn.LeakyReLU(0.2)] if norm else [nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Linear(hidden, outputs), flat)
