"""SN-GAN: Miyato, Kataoka, Koyama & Yoshida 2018, Spectral Normalization for Generative Adversarial Networks.

The paper's standard CNN (SNDCGAN). Generator: 128 normal latents, a dense layer, 4x4 transposed convolutions with batch
norm, and a 3x3 convolution. Discriminator: alternating 3x3 convolutions and 4x4 ones of stride 2, leaky ReLU .1, no
batch norm; each weight matrix (outputs in rows) is divided by its largest singular value, found by power iteration.
Setting C of the paper: Adam with learning rate 2e-4 and betas (.5, .999), one discriminator update per generator
update, the non-saturating loss (loss=hinge is the paper's other loss). Weights N(0, .02).

Deviations: as many x2 stages as DCGAN has at that size (the paper: three); one power iteration per forward pass in
training mode, and so two per discriminator update.

    gancli train model=sngan data=cifar10
"""

import math

from torch import nn

from gancli.data.spec import ImageSpec
from gancli.models.base import NormalPrior
from gancli.models.dcgan import pyramid
from gancli.nn.init import dcgan_
from gancli.nn.minibatch_std import spread
from gancli.nn.spectral import spectral_
from gancli.ranges import Units


class SNGAN(NormalPrior):
    """SNDCGAN for 8 to 128 pixels.

    Args:
        spec: shape of the images.
        latent_dim: number of normal latents.
        width: channels next to the image; they double with each stage away from it.
        minibatch_std: group size of the minibatch standard deviation; 0 disables it; see models/dcgan.py.

    Raises:
        UsageError: the image's size has no 4- to 7-pixel seed.
        ValueError: ``width`` is below 1.
    """

    bf16_pays = True

    def __init__(self, spec: ImageSpec, latent_dim: Units = 128, width: Units = 64, minibatch_std: int = 0) -> None:
        super().__init__(spec, latent_dim)
        widths, seed = pyramid(spec, width)
        widths.append(2 * widths[-1])  # the seed's
        self.generator = generator(latent_dim, widths[::-1], spec.channels, seed)
        self.discriminator = discriminator(spec.channels, widths, seed, minibatch_std)
        dcgan_(self)
        spectral_(self.discriminator)


def generator(latent_dim: int, widths: list[int], channels: int, seed: tuple[int, int]) -> nn.Sequential:
    """(N, latent_dim) -> (N, channels, H, W) in (-1, 1)."""
    start = (widths[0], *seed)
    layers = [nn.Linear(latent_dim, math.prod(start), bias=False), nn.Unflatten(1, start)]
    layers += [nn.BatchNorm2d(widths[0]), nn.ReLU()]
    for inner, outer in zip(widths, widths[1:]):
        layers += [nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=False), nn.BatchNorm2d(outer), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], channels, 3, 1, 1), nn.Tanh())


def discriminator(channels: int, widths: list[int], seed: tuple[int, int], minibatch_std: int = 0) -> nn.Sequential:
    """(N, channels, H, W) in [-1, 1] -> (N,) logits."""
    layers, inputs = [], channels
    for width in widths[:-1]:
        layers += [nn.Conv2d(inputs, width, 3, 1, 1), nn.LeakyReLU(0.1)]
        layers += [nn.Conv2d(width, width, 4, 2, 1), nn.LeakyReLU(0.1)]
        inputs = width
    told = spread(minibatch_std)
    layers += [*told, nn.Conv2d(inputs + len(told), widths[-1], 3, 1, 1), nn.LeakyReLU(0.1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(widths[-1] * math.prod(seed), 1), nn.Flatten(0))
