"""LAPGAN: Denton, Chintala, Szlam & Fergus 2015, Deep Generative Image Models using a Laplacian Pyramid of Adversarial
Networks.

A pyramid of GANs: the coarsest level is an ordinary one; every finer level has a pair of its own, whose generator adds
to the upsampled coarse image l the residual h = G(z, l), and whose discriminator sees their sum. Samples go from coarse
to fine: I_k = up(I_k-1) + G_k(z_k, up(I_k-1)) (eq. 3). Training knows real coarse images alone (losses/lapgan.py).

Networks of a level are those of the authors' code (facebook/eyescream, for CIFAR-10): the generator has 7x7, 7x7 and
5x5 convolutions of 64 planes on a plane of uniform noise and l; the discriminator a 5x5 convolution without padding,
one of stride 2, dropout .5 and a linear layer. A class enters both as one more plane: one-hot -> linear -> ReLU. At the
coarsest level the generator has hidden layers of 1200 ReLU and 1200 sigmoid units, the discriminator two of 600 units
with dropout. ``lapgan_paper`` has these sizes, with SGD. ``lapgan`` is small, for a CPU, with Adam, batch norm in the
coarsest generator, which without it draws few kinds of digits, and discriminators of a DCGAN (Radford et al. 2016) for
all levels: convolutions of stride 2, batch norm and a dense layer, which make better digits in the same time.

Deviations: the pyramid is made of 2x2 means and nearest neighbours where the code interpolates bilinearly, and of
pixels in [-1, 1] where the code normalises each channel; the coarsest image ends in a tanh. Dropout after both hidden
layers of the coarsest discriminator, and its planes of classes, are gancli's reading of the paper.

    gancli train model=lapgan data=mnist
"""

import copy
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from gancli.data.spec import ImageSpec, sides
from gancli.errors import UsageError
from gancli.models.base import Adversarial
from gancli.nn import laplacian
from gancli.nn.dropout import Dropout
from gancli.nn.flatten import Flatten
from gancli.nn.init import dcgan_
from gancli.nn.labels import Conditioned
from gancli.ranges import Drop, Positive, Units

SMALLEST_FINE = 6  # pixels of a side; fewer leave nothing for the discriminator's second convolution


class LAPGAN(Adversarial):
    """A generator and a discriminator per level, in one ``generator`` and one ``discriminator``, by the level's height.

    Args:
        spec: shape of the images.
        latent_dim: uniform latents of the coarsest level; finer ones have a plane of noise each.
        width: planes of the finer levels' generators.
        discriminator_width: planes of their discriminators; of a DCGAN's, of all levels' first convolution.
        kernel: side of the generators' kernels, odd; the last one is 2 smaller, and 3 at least.
        hidden: units of the coarsest generator's hidden layers.
        discriminator_hidden: units of the coarsest discriminator's; of a DCGAN's, of the dense layer of all levels.
        norm: of the coarsest generator: none, as in the authors' code; or batch, with ReLU in place of the sigmoid.
        discriminators: paper; or dcgan, see ConvolutionalDiscriminator.
        discriminator_norm: of a DCGAN's: batch; or none, for penalties on the slope at each image.
        dropout: of the paper's discriminators.
        smallest: pixels that the shorter side of the coarsest level has at least: 28 -> 14 -> 7, 32 -> 16 -> 8.
        conditional: whether images depend on the class.

    Raises:
        UsageError: the image has one level only, or its sides cannot be halved often enough; ``kernel`` is even; the
            model is conditional and the data has no classes.
    """

    bf16_pays = True
    channels_last_pays = True
    views = ("grid", "pyramid")
    generator: nn.ModuleDict
    discriminator: nn.ModuleDict

    def __init__(
        self,
        spec: ImageSpec,
        latent_dim: Units = 100,
        width: Units = 64,
        discriminator_width: Units = 64,
        kernel: Positive = 7,
        hidden: Units = 1200,
        discriminator_hidden: Units = 600,
        norm: Literal["none", "batch"] = "none",
        discriminators: Literal["paper", "dcgan"] = "paper",
        discriminator_norm: Literal["batch", "none"] = "batch",
        dropout: Drop = 0.5,
        smallest: Positive = 7,
        conditional: bool = False,
    ) -> None:
        self.conditional = conditional
        super().__init__(spec)
        if kernel % 2 == 0 or kernel < 3:
            raise UsageError(f"model.kernel={kernel}: must be odd and 3 or more, such as model.kernel=5")
        self.sizes = check_sizes(spec, smallest)
        self.names = tuple(str(height) for height, _ in self.sizes)
        self.latents = [latent_dim, *(math.prod(size) for size in self.sizes[1:])]  # latents of each level
        channels, classes = spec.channels, spec.num_classes if conditional else 0
        self.generator, self.discriminator = nn.ModuleDict(), nn.ModuleDict()
        for level, (name, size) in enumerate(zip(self.names, self.sizes)):
            shape = channels, *size
            if level:
                self.generator[name] = LevelGenerator(width, kernel, shape, classes)
            else:
                self.generator[name] = CoarsestGenerator(latent_dim, hidden, shape, classes, norm == "batch")
            if discriminators == "dcgan":
                self.discriminator[name] = ConvolutionalDiscriminator(
                    discriminator_width, discriminator_hidden, shape, classes, discriminator_norm == "batch", level == 0
                )
            elif level:
                self.discriminator[name] = LevelDiscriminator(discriminator_width, shape, classes, dropout)
            else:
                self.discriminator[name] = CoarsestDiscriminator(discriminator_hidden, shape, classes, dropout)
        self.notes = (f"levels of {', '.join(sides(*size) for size in self.sizes)} pixels",)

    def latent(self, n: int, generator: Generator | None = None) -> Tensor:
        """Uniform on [-1, 1], all levels in one row, the coarsest first and drawn first. (n, sum of latents)."""
        return torch.cat([self.noise(level, n, generator) for level in range(len(self.sizes))], 1)

    def noise(self, level: int, n: int, generator: Generator | None = None) -> Tensor:
        """Draw the latents of one level, uniform on [-1, 1]. (n, latents[level])."""
        return torch.rand(n, self.latents[level], device=self.device, generator=generator) * 2 - 1

    def level(self, level: int, z: Tensor, coarse: Tensor | None, label: Tensor | None = None) -> Tensor:
        """Return images of one level, which may exceed [-1, 1], since residuals are unbounded.

        Args:
            level: 0 is the coarsest.
            z: its latents, (N, latents[level]).
            coarse: images of the level before, (N, C, H/2, W/2); None for the coarsest level.
            label: their classes, (N,), if the model is conditional.

        Returns:
            (N, C, H, W) at the level's size.
        """
        network = self.generator[self.names[level]]
        if coarse is None:
            return network(z, label)
        upsampled = laplacian.up(coarse)
        return upsampled + network(z, upsampled, label)

    def chain(self, z: Tensor, label: Tensor | None = None) -> list[Tensor]:
        """Return the images of all levels, the coarsest first, each drawn on top of the one before."""
        images: list[Tensor] = []
        for level, own in enumerate(z.split(self.latents, 1)):
            images.append(self.level(level, own, images[-1] if images else None, label))
        return images

    def generate(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Return the last image of the chain; it is clamped here and nowhere before. (N, C, H, W) in [-1, 1]."""
        return self.chain(z, label)[-1].clamp(-1, 1)

    def pyramid(self, image: Tensor) -> list[Tensor]:
        """Return images, (N, C, H, W), at every level, the coarsest first."""
        return laplacian.gaussian(image, len(self.sizes))

    @staticmethod
    def residuals(images: Sequence[Tensor]) -> list[Tensor]:
        """Return the coarsest of the images of all levels, then what each finer level adds, in [-2, 2]."""
        return laplacian.residuals(images)

    def score_level(self, level: int, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Return one discriminator's logits, (N,), for images of its level: coarse image plus residual."""
        return self.discriminator[self.names[level]](image, label)

    def score(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Return the sum of all levels' logits, (N,).

        A discriminator that cannot be improved has the logit log p(h|l)/q(h|l), and the coarsest one log p(l)/q(l);
        their sum is that of the whole image, by the chain rule.
        """
        scores = [self.score_level(level, seen, label) for level, seen in enumerate(self.pyramid(image))]
        return torch.stack(scores).sum(0)


def check_sizes(spec: ImageSpec, smallest: int) -> list[tuple[int, int]]:
    """Return the sizes of all levels, the coarsest first. Raises UsageError if they make no pyramid."""
    found = laplacian.sizes(spec.height, spec.width, smallest)
    if len(found) == 1 or min(found[0]) >= 2 * smallest or min(found[1]) < SMALLEST_FINE:
        raise UsageError(
            f"{spec.size} images cannot be halved down to between {smallest} and {2 * smallest - 1} "
            "pixels; use data.size=32 or data.size=64, or another model.smallest (4 for 8 pixels)"
        )
    return found


class CoarsestGenerator(Conditioned):
    """Two hidden layers: ReLU, then sigmoid, as in the authors' code; or both with batch norm and ReLU."""

    def __init__(
        self, latent_dim: int, hidden: int, shape: tuple[int, int, int], classes: int, batch_norm: bool
    ) -> None:
        super().__init__(classes, *shape[1:])
        inputs = latent_dim + (math.prod(shape[1:]) if classes else 0)
        norm = (nn.BatchNorm1d(hidden),) if batch_norm else ()
        self.net = nn.Sequential(
            nn.Linear(inputs, hidden), *norm, nn.ReLU(),
            nn.Linear(hidden, hidden), *copy.deepcopy(norm), nn.ReLU() if batch_norm else nn.Sigmoid(),
            nn.Linear(hidden, math.prod(shape)), nn.Tanh(), nn.Unflatten(1, shape),
        )  # fmt: skip

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """(N, latent_dim), (N,) -> (N, C, H, W) in (-1, 1)."""
        return self.net(self.joined(z, label=label))


class CoarsestDiscriminator(Conditioned):
    """Two hidden layers with dropout."""

    def __init__(self, hidden: int, shape: tuple[int, int, int], classes: int, dropout: float) -> None:
        super().__init__(classes, *shape[1:])
        inputs = math.prod(shape) + (math.prod(shape[1:]) if classes else 0)
        self.net = nn.Sequential(
            *(
                layer
                for fan_in, fan_out in pairwise((inputs, hidden, hidden))
                for layer in (nn.Linear(fan_in, fan_out), nn.ReLU(), Dropout(dropout))
            ),
            nn.Linear(hidden, 1),
        )

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """(N, C, H, W), (N,) -> (N,) logits."""
        return self.net(self.joined(image.flatten(1), label=label)).squeeze(1)


class LevelGenerator(Conditioned):
    """Three convolutions that keep the size; the residual is linear, for it lies in [-2, 2]."""

    def __init__(self, width: int, kernel: int, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__(classes, *shape[1:])
        self.size, last = shape[1:], max(3, kernel - 2)
        inputs = 1 + shape[0] + bool(classes)
        self.net = nn.Sequential(
            nn.Conv2d(inputs, width, kernel, padding=kernel // 2), nn.ReLU(),
            nn.Conv2d(width, width, kernel, padding=kernel // 2), nn.ReLU(),
            nn.Conv2d(width, shape[0], last, padding=last // 2),
        )  # fmt: skip

    def forward(self, z: Tensor, coarse: Tensor, label: Tensor | None = None) -> Tensor:
        """(N, H*W) noise, (N, C, H, W) upsampled coarse images, (N,) -> (N, C, H, W) residuals."""
        return self.net(self.joined(z.unflatten(1, (1, *self.size)), coarse, label=label))


class LevelDiscriminator(Conditioned):
    """Two 5x5 convolutions without padding, the second of stride 2 (and 4x4 or less where fewer pixels are left)."""

    def __init__(self, width: int, shape: tuple[int, int, int], classes: int, dropout: float) -> None:
        super().__init__(classes, *shape[1:])
        left = [side - 4 for side in shape[1:]]
        kernel = min(5, *left)
        units = width * math.prod((side - kernel) // 2 + 1 for side in left)
        self.net = nn.Sequential(
            nn.Conv2d(shape[0] + bool(classes), width, 5), nn.ReLU(),
            nn.Conv2d(width, width, kernel, 2), nn.ReLU(),
            nn.Flatten(), Dropout(dropout), nn.Linear(units, 1),
        )  # fmt: skip

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """(N, C, H, W) coarse image plus residual, (N,) -> (N,) logits."""
        return self.net(self.joined(image, label=label)).squeeze(1)


class ConvolutionalDiscriminator(Conditioned):
    """As in a DCGAN: two convolutions and a dense layer with batch norm; the first keeps the size of the coarsest."""

    def __init__(
        self, width: int, hidden: int, shape: tuple[int, int, int], classes: int, batch_norm: bool, coarsest: bool
    ) -> None:
        super().__init__(classes, *shape[1:])
        inputs, stages = shape[0] + bool(classes), 1 if coarsest else 2
        first = nn.Conv2d(inputs, width, 3, padding=1) if coarsest else nn.Conv2d(inputs, width, 4, 2, 1)
        units = 2 * width * math.prod(side >> stages for side in shape[1:])
        norms = (nn.BatchNorm2d(2 * width), nn.BatchNorm1d(hidden)) if batch_norm else (nn.Identity(), nn.Identity())
        self.net = nn.Sequential(
            first, nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1), norms[0], nn.LeakyReLU(0.2),
            Flatten(), nn.Linear(units, hidden), norms[1], nn.LeakyReLU(0.2), nn.Linear(hidden, 1),
        ).apply(dcgan_)  # fmt: skip

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """(N, C, H, W) image, (N,) -> (N,) logits."""
        return self.net(self.joined(image, label=label)).squeeze(1)
