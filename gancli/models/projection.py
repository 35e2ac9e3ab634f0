"""The projection discriminator: Miyato & Koyama 2018, cGANs with Projection Discriminator.

The discriminator adds an inner product with the class y to its score: f(x, y) = psi(h) + <v_y, h>, where h are the
features of x, summed over the pixels, psi is linear, and v_y is a row of an embedding table. All of its layers,
including the table, are spectrally normalised. The generator's batch norms have a scale and a shift per class. Networks
and recipe are those of sngan_resnet: hinge loss, Adam with learning rate 2e-4 and betas (0, .9), 5 discriminator
updates per generator update, which draws twice as many images. The classes of generated images are drawn uniformly, as
in the authors' release.

Deviations: those of sngan_resnet; the paper's own experiments are on ImageNet at 128 pixels.

    gancli train model=projection data=cifar10
"""

from functools import partial

from torch import Tensor, nn

from gancli.data.spec import ImageSpec
from gancli.models import sngan_resnet
from gancli.models.base import UniformClasses
from gancli.models.dcgan import pyramid
from gancli.nn.norm import ConditionalBatchNorm2d
from gancli.nn.residual import Generator
from gancli.nn.spectral import spectral_
from gancli.ranges import Units


class Projected(UniformClasses):
    """A conditional model whose ``discriminator`` takes images and labels, and whose images have uniform classes."""

    def score(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        return self.discriminator(image, label)


class Projection(Projected):
    """Class-conditional residual networks for 8 to 128 pixels.

    Args:
        spec: shape and classes of the images.
        latent_dim: number of normal latents.
        width: channels of the generator's blocks.
        discriminator_width: channels of the discriminator's blocks.

    Raises:
        UsageError: the data has no classes, or the image's size has no 4- to 7-pixel seed.
        ValueError: ``width`` is below 1.
    """

    bf16_pays = True
    channels_last_pays = True

    def __init__(
        self, spec: ImageSpec, latent_dim: Units = 128, width: Units = 256, discriminator_width: Units = 128
    ) -> None:
        super().__init__(spec, latent_dim)
        widths, seed = pyramid(spec, width)
        norm = partial(ConditionalBatchNorm2d, classes=spec.num_classes)
        self.generator = Generator(latent_dim, width, len(widths), spec.channels, seed, norm)
        self.discriminator = Discriminator(spec.channels, discriminator_width, len(widths), spec.num_classes)
        spectral_(self.discriminator)


class Discriminator(sngan_resnet.Discriminator):
    """SN-GAN's discriminator with an embedding of ``width`` numbers per class."""

    def __init__(self, channels: int, width: int, stages: int, classes: int) -> None:
        super().__init__(channels, width, stages)
        self.table = nn.Embedding(classes, width)
        nn.init.xavier_uniform_(self.table.weight)

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """(N, channels, H, W) in [-1, 1], (N,) -> (N,) logits; the label is required."""
        h = self.features(image)
        return self.linear(h).squeeze(1) + (self.table(label) * h).sum(1)
