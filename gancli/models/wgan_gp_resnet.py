"""WGAN-GP's residual networks: Gulrajani et al. 2017, Improved Training of Wasserstein GANs, the ResNets for CIFAR-10.

128 normal latents; both networks have residual blocks of 128 channels, with batch norm in the generator and without in
the critic; the critic's score is a dense layer on the mean over all pixels. Gradient penalty with weight 10, Adam with
betas (0, .9) and learning rate 2e-4, which falls linearly to 0, 5 critic updates on 64 images each per generator
update, which draws 128 (loss.generator_batch=2).

Deviations: as many x2 stages as DCGAN has at that size (the release: 32 pixels, three), and the critic halves the image
one time fewer; images are not dequantised by uniform noise; the critic's output has no bias, since the loss does not
depend on it. The run's length is set by images=; the release's 100,000 generator updates are images=32M.

    gancli train model=wgan_gp_resnet data=cifar10
"""

from torch import nn

from gancli.data.spec import ImageSpec
from gancli.models.base import NormalPrior
from gancli.models.dcgan import pyramid
from gancli.nn.norm import BatchNorm2d
from gancli.nn.residual import Generator, Trunk, glorot
from gancli.ranges import Units


class WGANGPResNet(NormalPrior):
    """Residual networks for 8 to 128 pixels.

    Args:
        spec: shape of the images.
        latent_dim: number of normal latents.
        width: channels of the blocks of both networks.

    Raises:
        UsageError: the image's size has no 4- to 7-pixel seed.
        ValueError: ``width`` is below 1.
    """

    channels_last_pays = True

    def __init__(self, spec: ImageSpec, latent_dim: Units = 128, width: Units = 128) -> None:
        super().__init__(spec, latent_dim)
        widths, seed = pyramid(spec, width)
        self.generator = Generator(latent_dim, width, len(widths), spec.channels, seed, BatchNorm2d)
        self.discriminator = nn.Sequential(
            Trunk(spec.channels, width, len(widths)),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            glorot(nn.Linear(width, 1, bias=False)),
            nn.Flatten(0),
        )
