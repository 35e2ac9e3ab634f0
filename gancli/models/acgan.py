"""AC-GAN: Odena, Olah & Shlens 2017, Conditional Image Synthesis with Auxiliary Classifier GANs.

The generator gets latents and a one-hot label. The discriminator sees only the image and predicts whether it is real
and which class it shows (losses/acgan.py). Classes of generated images are drawn uniformly. Adam with learning rate
2e-4 and betas (.5, .999).

Deviation: the networks are DCGAN's at the image's size, with one extra output per class. The paper's own networks (for
CIFAR-10 and ImageNet, with dropout in the discriminator) have other sizes.

    gancli train model=acgan data=mnist
"""

import torch
from torch import Tensor, nn

from gancli.data.spec import ImageSpec
from gancli.models import dcgan
from gancli.models.base import UniformClasses
from gancli.nn.init import dcgan_
from gancli.nn.labels import one_hot
from gancli.ranges import Units


class ACGAN(UniformClasses):
    """DCGAN's networks with a class-conditional generator and a classifying discriminator, for 8 to 128 pixels.

    Args:
        spec: shape and classes of the images.
        latent_dim: number of normal latents, not counting the label's units.
        width: channels next to the image; they double with each stage away from it.
        hidden: units of a dense layer in both networks; see models/dcgan.py.

    Raises:
        UsageError: data without classes, or the image's size has no 4- to 7-pixel seed.
        ValueError: ``width`` is below 1, or ``hidden`` is negative.
    """

    bf16_pays = True

    def __init__(self, spec: ImageSpec, latent_dim: Units = 100, width: Units = 64, hidden: int | None = 0) -> None:
        super().__init__(spec, latent_dim)
        widths, seed = dcgan.pyramid(spec, width)
        classes, units = spec.num_classes, dcgan.dense_units(hidden, spec, width)
        draw = dcgan.generator(latent_dim + classes, widths[::-1], spec.channels, seed, units)
        self.generator = Generator(classes, draw)
        # The source's logit, then the classes'.
        self.discriminator = dcgan.discriminator(spec.channels, widths, seed, hidden=units, outputs=1 + classes)
        dcgan_(self)

    def judge(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the real/fake logits, (N,), and the class logits, (N, classes)."""
        said = self.discriminator(image)
        return said[:, 0], said[:, 1:]

    def score(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        return self.judge(image)[0]


class Generator(nn.Module):
    """A network on latents and one-hot labels."""

    def __init__(self, classes: int, net: nn.Module) -> None:
        super().__init__()
        self.classes, self.net = classes, net

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        """(N, latent_dim), (N,) -> (N, channels, H, W) in (-1, 1)."""
        return self.net(torch.cat([z, one_hot(label, self.classes)], 1)[:, :, None, None])
