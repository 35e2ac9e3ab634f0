"""WGAN-GP: Gulrajani, Ahmed, Arjovsky, Dumoulin & Courville 2017, Improved Training of Wasserstein GANs.

The DCGAN-like networks of the release's gan_cifar.py: 128 normal latents, a dense layer, 5x5 convolutions of stride 2,
batch norm in the generator and none in the critic (section 4: the penalty is per sample). He-uniform weights, gradient
penalty with weight 10, Adam with learning rate 1e-4 and betas (.5, .9), 5 critic updates per generator update.

Every size is halved, rounding up, until maps of 4 pixels are left: 32-16-8-4, and 28-14-7-4 as in the release's
gan_mnist.py, where the generator makes 8x8 of 4x4 and cuts a row and a column off.

Deviations: 64 channels next to the image, which the release's comment prefers to its own 128 (gan_mnist.py has 64); the
first batch norm is per channel (the release: per unit, before the reshape); at 28 pixels, too, the generator has batch
norm and a tanh (gan_mnist.py: neither, and a sigmoid), and batches are of 64 images (there: 50); the critic's output
has no bias, since the loss depends on none.

    gancli train model=wgan_gp data=mnist
"""

import math

from torch import nn

from gancli.data.spec import ImageSpec
from gancli.models.base import NormalPrior
from gancli.models.dcgan import stages
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
        smallest: pixels of the smallest maps at most, along their shorter side: 4 in the release; 7, DCGAN's stages, in
            every checkpoint that does not name it.

    Raises:
        UsageError: the image's size has no 4- to 7-pixel seed.
        ValueError: ``width`` is below 1, or ``smallest`` is not from 4 to 7.
    """

    bf16_pays = True

    def __init__(
        self, spec: ImageSpec, latent_dim: Units = 128, width: Units = 64, minibatch_std: int = 0, smallest: int = 7
    ) -> None:
        super().__init__(spec, latent_dim)
        if width < 1 or not 4 <= smallest <= 7:
            raise ValueError(f"width={width} must be 1 or more, and smallest={smallest} from 4 to 7")
        sizes = halved(spec, smallest)
        widths = [width << i for i in range(len(sizes) - 1)]
        self.generator = generator(latent_dim, widths[::-1], spec.channels, sizes[::-1])
        self.discriminator = critic(spec.channels, widths, sizes[-1], minibatch_std)
        he_uniform_(self)


def halved(spec: ImageSpec, smallest: int) -> list[tuple[int, int]]:
    """Return the heights and widths of the image and of its maps, halved and rounded up until ``smallest`` is reached.

    Raises:
        UsageError: see dcgan.stages().
    """
    stages(spec)
    sizes = [(spec.height, spec.width)]
    while min(sizes[-1]) > smallest:
        height, width = sizes[-1]
        sizes.append(((height + 1) // 2, (width + 1) // 2))
    return sizes


def generator(latent_dim: int, widths: list[int], channels: int, sizes: list[tuple[int, int]]) -> nn.Sequential:
    """(N, latent_dim) -> (N, channels, H, W) in (-1, 1); ``sizes``: heights and widths from the seed to the image."""
    start = (widths[0], *sizes[0])
    layers = [nn.Linear(latent_dim, math.prod(start), bias=False), nn.Unflatten(1, start)]
    layers += [nn.BatchNorm2d(widths[0]), nn.ReLU()]
    # A last row and column that would be cut off, as from 8 to 7 pixels, are not made.
    more = [(h - (2 * low - 1), w - (2 * left - 1)) for (low, left), (h, w) in zip(sizes, sizes[1:])]
    for inner, outer, end in zip(widths, widths[1:], more):
        layers += [nn.ConvTranspose2d(inner, outer, 5, 2, 2, end, bias=False), nn.BatchNorm2d(outer), nn.ReLU()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(widths[-1], channels, 5, 2, 2, more[-1]), nn.Tanh())


def critic(channels: int, widths: list[int], seed: tuple[int, int], minibatch_std: int = 0) -> nn.Sequential:
    """(N, channels, H, W) in [-1, 1] -> (N,) scores."""
    layers = []
    for outer, inner in zip([channels, *widths], widths):
        layers += [nn.Conv2d(outer, inner, 5, 2, 2), nn.LeakyReLU(0.2)]
    told = spread(minibatch_std)
    score = nn.Linear((widths[-1] + len(told)) * math.prod(seed), 1, bias=False)
    return nn.Sequential(*layers, *told, nn.Flatten(), score, nn.Flatten(0))
