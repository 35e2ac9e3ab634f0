"""Stabilizers: changes to the images and labels that a discriminator sees, which keep it uncertain.

gancli train model=dcgan 'stabilizer=[smooth_labels,instance_noise]' loss.stabilizers.instance_noise.sigma=0.2
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from gancli.nn.annealed import Annealed, bounds, value
from gancli.ranges import Signed


class Stabilizer(nn.Module):
    """Changes images in the updates of both players, or labels in those of the discriminator; state is in buffers."""

    relabels: ClassVar[bool] = False
    calibrated: ClassVar[bool] = False  # needs scores whose sign says real or generated
    nondeterministic: str | None = None  # its operation that has no deterministic kernel on a GPU

    def image(self, image: Tensor, progress: Tensor | None = None) -> Tensor:
        """Return (N, C, H, W) images, real or generated, as the discriminator sees them.

        progress: completed share of the run, () in [0, 1]; None for the start.
        """
        return image

    def pairs(
        self, source: Tensor, images: Sequence[Tensor], progress: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Return sources, and images that belong to them, as a discriminator of pairs sees them; shapes as in image().

        Sources only change by motions, which are the same for all images of a pair.
        """
        return source, [self.image(image, progress) for image in images]

    def labels(self, real: Tensor, fake: Tensor, progress: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the labels of real and generated images, (N,) each, given the labels so far, which start as 1 and 0.

        See image() for ``progress``.
        """
        return real, fake

    def warning(self, images: int) -> str | None:
        """Return one line if so many training images are fewer than the method was made for."""
        return None

    def observe(self, score: Tensor) -> dict[str, Tensor]:
        """Observe the scores of real images minus the loss's threshold, (N,), in every update of the discriminator.

        Returns:
            Statistics to log.
        """
        return {}


class SmoothLabels(Stabilizer):
    """One-sided label smoothing (Salimans et al. 2016, section 3.4): real images have the label ``real_label``.

    It is one-sided because, with a positive label on generated images, the optimal discriminator
    (0.9 p_data + b p_g) / (p_data + p_g) would reward the generator for staying where there is no data.

    Args:
        real_label: the label of real images, above 0 and at most 1.
    """

    relabels = True

    def __init__(self, real_label: float = 0.9) -> None:
        super().__init__()
        if not 0 < real_label <= 1:
            raise ValueError(f"real_label must be above 0 and at most 1, got {real_label}")
        self.real_label = real_label

    def labels(self, real: Tensor, fake: Tensor, progress: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return real * self.real_label, fake


class NoisyLabels(Stabilizer):
    """Random labels for each image (the "soft and noisy labels" of Chintala et al.'s ganhacks).

    Args:
        real: range of the labels of real images.
        fake: range of the labels of generated images.
    """

    relabels = True

    def __init__(self, real: tuple[Signed, Signed] = (0.7, 1.2), fake: tuple[Signed, Signed] = (0.0, 0.3)) -> None:
        super().__init__()
        self.real, self.fake = real, fake

    def labels(self, real: Tensor, fake: Tensor, progress: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._noisy(real), self._noisy(fake)

    def _noisy(self, label: Tensor) -> Tensor:
        ones, zeros = (low + (high - low) * torch.rand_like(label) for low, high in (self.real, self.fake))
        return label * ones + (1 - label) * zeros


class FlipLabels(Stabilizer):
    """Swaps the labels of a real and a generated image with probability p (ganhacks).

    The optimal discriminator then stays within [p, 1 - p].

    Args:
        p: probability of a swap, from 0 to 1/2.
    """

    relabels = True

    def __init__(self, p: float | Annealed = 0.05) -> None:
        super().__init__()
        if not 0 <= bounds(p)[0] <= bounds(p)[1] <= 0.5:
            raise ValueError(f"p must be from 0 to 0.5, got {p}")
        self.p = p

    def labels(self, real: Tensor, fake: Tensor, progress: Tensor | None = None) -> tuple[Tensor, Tensor]:
        swap = torch.rand_like(real) < value(self.p, progress)
        return torch.where(swap, fake, real), torch.where(swap, real, fake)


class InstanceNoise(Stabilizer):
    """Gaussian noise on all images that the discriminator sees, annealed linearly to zero (Sønderby et al. 2017).

    It widens both distributions until they overlap (Arjovsky & Bottou 2017, section 3).

    Args:
        sigma: standard deviation at the start, for pixels in [-1, 1].
        end: share of the run, above 0 and at most 1, after which there is no noise.
    """

    def __init__(self, sigma: float | Annealed = 0.1, end: float = 1.0) -> None:
        super().__init__()
        if bounds(sigma)[0] < 0 or not 0 < end <= 1:
            raise ValueError(f"sigma={sigma} must be 0 or more, and end={end} above 0 and at most 1")
        self.sigma, self.end = sigma, end

    def image(self, image: Tensor, progress: Tensor | None = None) -> Tensor:
        fading = 1 if progress is None else (1 - progress / self.end).clamp(min=0)
        return image + value(self.sigma, progress) * fading * torch.randn_like(image)
