"""SN-GAN's residual networks: Miyato et al. 2018, Spectral Normalization for GANs, the ResNet for 32 pixels.

Generator: 128 normal latents, a dense layer, residual blocks of 256 channels with batch norm. Discriminator: residual
blocks of 128 channels without batch norm, ReLU, the sum over all pixels, a dense layer without bias; all of its layers
are spectrally normalised. Hinge loss, Adam with betas (0, .9) and learning rate 2e-4, which falls linearly to 0, 5
discriminator updates on 64 images each per generator update, which draws 128 (loss.generator_batch=2).

Deviations: as many x2 stages as DCGAN has at that size (the release: 32 pixels, three), and the discriminator halves
the image one time fewer; images are not dequantised by uniform noise. The run's length is set by images=; the release's
50,000 generator updates are images=16M.

    gancli train model=sngan_resnet data=cifar10
"""

from torch import Tensor, nn

from gancli.data.spec import ImageSpec
from gancli.models.base import NormalPrior
from gancli.models.dcgan import pyramid
from gancli.nn.norm import BatchNorm2d
from gancli.nn.residual import Generator, Trunk, glorot
from gancli.nn.spectral import spectral_
from gancli.ranges import Units


class SNGANResNet(NormalPrior):
    """Residual networks for 8 to 128 pixels.

    Args:
        spec: shape of the images.
        latent_dim: number of normal latents.
        width: channels of the generator's blocks.
        discriminator_width: channels of the discriminator's blocks.

    Raises:
        UsageError: the image's size has no 4- to 7-pixel seed.
        ValueError: ``width`` is below 1.
    """

    bf16_pays = True
    channels_last_pays = True

    def __init__(
        self, spec: ImageSpec, latent_dim: Units = 128, width: Units = 256, discriminator_width: Units = 128
    ) -> None:
        super().__init__(spec, latent_dim)
        widths, seed = pyramid(spec, width)
        self.generator = Generator(latent_dim, width, len(widths), spec.channels, seed, BatchNorm2d)
        self.discriminator = Discriminator(spec.channels, discriminator_width, len(widths))
        spectral_(self.discriminator)


class Discriminator(nn.Module):
    """Residual blocks, the sum over all pixels, and a dense layer."""

    def __init__(self, channels: int, width: int, stages: int) -> None:
        super().__init__()
        self.trunk, self.linear = Trunk(channels, width, stages), glorot(nn.Linear(width, 1, bias=False))

    def forward(self, image: Tensor) -> Tensor:  # (N, channels, H, W) in [-1, 1] -> (N,) logits
        return self.linear(self.features(image)).squeeze(1)

    def features(self, image: Tensor) -> Tensor:  # -> (N, width)
        return self.trunk(image).sum((2, 3))
