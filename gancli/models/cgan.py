"""Conditional GAN: Mirza & Osindero 2014, Conditional Generative Adversarial Nets (its MNIST nets).

Generator: 100 uniform latents -> ReLU 200, one-hot label -> ReLU 1000, both -> ReLU 1200 -> sigmoid pixels.
Discriminator: pixels -> maxout 240x5, label -> maxout 50x5, both -> maxout 240x4 -> one logit. Dropout of one half in
both. SGD on batches of 100, learning rate .1 divided by 1.00004 per update down to 1e-6, momentum .5 to .7.

Images are generated and judged with the labels of the training batch, which follow the data's class frequencies. The
paper does not say where dropout goes; here it follows every hidden layer. In the generator it stays on at test time, as
in pix2pix: when it was turned off after 1.5M images of MNIST, the generator made one image per class, because it had
learned to ignore the latents. The paper gives neither its initialisation nor the ramp of its momentum; those of
Goodfellow et al. 2014 are used (uniform in -.05 .. .05 and -.005 .. .005, 250 epochs). Deviations: pixels cross gancli
in [-1, 1] and are mapped to the paper's [0, 1] inside; the discriminator returns a logit.

    gancli train model=cgan data=mnist
"""

import math

import torch
from torch import Generator, Tensor, nn

from gancli.data.spec import ImageSpec
from gancli.models.base import Adversarial
from gancli.nn.dropout import Dropout
from gancli.nn.init import uniform_
from gancli.nn.labels import one_hot
from gancli.nn.maxout import Maxout
from gancli.ranges import Drop, Units


class CGAN(Adversarial):
    """Two fully connected networks, each with a separate layer for the label.

    Args:
        spec: shape and classes of the images.
        latent_dim: number of uniform latents.
        width: factor on the paper's layer sizes.
        drop: fraction of the hidden units that dropout zeroes, in both networks.

    Raises:
        UsageError: the data has no classes.
        ValueError: ``width`` leaves no units.
    """

    bf16_pays = True
    conditional = True
    generator: "Generating"

    def __init__(self, spec: ImageSpec, latent_dim: Units = 100, width: float = 1.0, drop: Drop = 0.5) -> None:
        super().__init__(spec)
        if 50 * width < 1:
            raise ValueError(f"width={width} leaves no units; it must be 0.02 or more")
        self.latent_dim = latent_dim
        pixels, classes = math.prod(spec.shape), spec.num_classes
        self.generator = Generating(spec, latent_dim, [round(width * n) for n in (200, 1000, 1200)], drop)
        of_image, of_label = round(width * 240), round(width * 50)
        self.discriminator = Joined(
            nn.Sequential(nn.Flatten(), Maxout(pixels, of_image, 5), Dropout(drop)),
            nn.Sequential(Maxout(classes, of_label, 5), Dropout(drop)),
            nn.Sequential(
                Maxout(of_image + of_label, of_image, 4), Dropout(drop), nn.Linear(of_image, 1), nn.Flatten(0)
            ),
            classes,
        )
        uniform_(self.generator, 0.05)
        uniform_(self.discriminator, 0.005)

    def latent(self, n: int, generator: Generator | None = None) -> Tensor:
        """Uniform on [0, 1]: latents, and the random numbers for dropout. (n, latent_dim + hidden units)."""
        numbers = self.latent_dim + sum(self.generator.units)
        return torch.rand(n, numbers, device=self.device, generator=generator)

    def generate(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return 2 * self.generator(z, label) - 1

    def score(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        return self.discriminator((image + 1) / 2, label)


class Generating(nn.Module):
    """The generator. The random numbers of its dropout, which training relies on as noise, are part of the latents.

    Args:
        spec: shape and classes of the images.
        latent_dim: number of latents, not counting those for dropout.
        units: sizes of the latent, the label and the joint hidden layer.
        drop: fraction of the hidden units that is zeroed.
    """

    def __init__(self, spec: ImageSpec, latent_dim: int, units: list[int], drop: float) -> None:
        super().__init__()
        if not 0 <= drop < 1:
            raise ValueError(f"drop={drop} must be 0 or more and below 1")
        self.latent_dim, self.units, self.drop, self.shape = latent_dim, units, drop, spec.shape
        of_latent, of_label, joint = units
        self.of_latent, self.of_label = nn.Linear(latent_dim, of_latent), nn.Linear(spec.num_classes, of_label)
        self.joint, self.image = nn.Linear(of_latent + of_label, joint), nn.Linear(joint, math.prod(spec.shape))

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        """(N, latent_dim + units), (N,) -> (N, C, H, W) in (0, 1)."""
        z, first, second = z.split([self.latent_dim, sum(self.units[:2]), self.units[2]], 1)
        hidden = torch.cat([self.of_latent(z), self.of_label(one_hot(label, self.of_label.in_features))], 1)
        hidden = self.joint(self._dropped(hidden.relu(), first)).relu()
        return self.image(self._dropped(hidden, second)).sigmoid().unflatten(1, self.shape)

    def _dropped(self, x: Tensor, numbers: Tensor) -> Tensor:
        return x * (numbers >= self.drop) / (1 - self.drop)


class Joined(nn.Module):
    """A layer for the input, a layer for the one-hot label, and a network on top of both."""

    def __init__(self, of_input: nn.Module, of_label: nn.Module, joint: nn.Module, classes: int) -> None:
        super().__init__()
        self.of_input, self.of_label, self.joint, self.classes = of_input, of_label, joint, classes

    def forward(self, x: Tensor, label: Tensor) -> Tensor:  # (N, ...), (N,) -> (N, ...)
        of_label = self.of_label(one_hot(label, self.classes))
        return self.joint(torch.cat([self.of_input(x), of_label], 1))
