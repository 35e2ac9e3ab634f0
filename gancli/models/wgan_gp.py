"""WGAN-GP: Gulrajani, Ahmed, Arjovsky, Dumoulin & Courville 2017, Improved Training of Wasserstein GANs.

The DCGAN-like networks of the release's gan_cifar.py: 128 normal latents, a dense layer, 5x5 convolutions of stride 2,
batch norm in the generator and none in the critic (section 4: the penalty is per sample). He-uniform weights, gradient
penalty with weight 10, Adam with learning rate 1e-4 and betas (.5, .9), 5 critic updates per generator update.

Deviations: as many x2 stages as DCGAN has at that size (the release: 32 pixels, three); 64 channels next to the image,
which a comment in the release prefers to its own 128; the critic's output has no bias, since the loss does not depend
on it.

    gancli train model=wgan_gp data=mnist
"""

import math

from torch import nn

from gancli.data.spec import ImageSpec
from gancli.models.base import NormalPrior
from gancli.models.dcgan import pyramid
from gancli.nn.init import he_uniform_
from gancli.nn.minibatch_std import spread
from gancli.ranges import Units


class WGANGP(NormalPrior):
    """A convolutional generator, and a critic without normalisation.

    Args:
        spec: shape of the images.
        latent_dim: number of normal latents.
        width: channels next to the image; they double with each stage away from it.
        minibatch_std: group size of the minibatch standard deviation; 0 disables it; see models/dcgan.py.

    Raises:
        UsageError: the image's size has no 4- to 7-pixel seed.
        ValueError: ``width`` is below 1.
    """

    def __init__(self, spec: ImageSpec, latent_dim: Units = 128, width: Units = 64, minibatch_std: int = 0) -> None:
        super().__init__(spec, latent_dim)
        widths, seed = pyramid(spec, width)
        self.generator = generator(latent_dim, widths[::-1], spec.channels, seed)
        self.discriminator = critic(spec.channels, widths, seed, minibatch_std)
        he_uniform_(self)


def generator(latent_dim: int, widths: list[int], channels: int, seed: tuple[int, int]) -> nn.Sequential:
    """(N, latent_dim) -> (N, channels, H, W) in (-1, 1)."""
    start = (widths[0], *seed)
    layers = [nn.Linear(latent_dim, math.prod(start), bias=False), nn.Unflatten(1, start)]
    layers += [nn.BatchNorm2d(widths[0]), nn.ReLU()]
    for inner, outer in zip(widths, widths[1:]):
        layers += [nn.ConvTranspose2d(inner, outer, 5, 2, 2, 1, bias=False), nn.BatchNorm2d(outer), nn.ReLU()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(widths[-1], channels, 5, 2, 2, 1), nn.Tanh())


def critic(channels: int, widths: list[int], seed: tuple[int, int], minibatch_std: int = 0) -> nn.Sequential:
    """(N, channels, H, W) in [-1, 1] -> (N,) scores."""
    layers = []
    for outer, inner in zip([channels, *widths], widths):
        layers += [nn.Conv2d(outer, inner, 5, 2, 2), nn.LeakyReLU(0.2)]
    told = spread(minibatch_std)
    score = nn.Linear((widths[-1] + len(told)) * math.prod(seed), 1, bias=False)
    return nn.Sequential(*layers, *told, nn.Flatten(), score, nn.Flatten(0))
