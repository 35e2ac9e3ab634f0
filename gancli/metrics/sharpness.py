"""Sharpness of images: the variance of their Laplacian, relative to that of the real images.

The Laplacian of an image answers to edges and to noise, and blur takes both away: its variance is a common measure of
focus (Pech-Pacheco et al. 2000, Diatom autofocusing in brightfield microscopy). 1 is as sharp as the data; means of
what could be are blurred and have less, noise and artefacts have more. It looks at no content.

    gancli eval ckpt=latest 'metrics=[sharpness,rsharpness]'
"""

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from gancli.errors import UsageError
from gancli.metrics.base import GENERATED, REAL, RECONSTRUCTED, Batch, Metric, SetInfo, Statistic, Statistics
from gancli.metrics.features import Features, Images

KERNEL = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))


class Laplacians(Statistic):
    """The sum over images of the variance of the Laplacian, in float64."""

    network = False

    def __init__(self, device: torch.device) -> None:
        self.n, self.total = 0, torch.zeros((), dtype=torch.float64, device=device)

    @classmethod
    def of(cls, about: SetInfo) -> Self:
        return cls(about.device)

    def add(self, batch: Batch) -> None:
        self.n += len(batch.pixels)
        self.total += laplacian_variance(batch.pixels).sum().to(self.total.device)

    def mean(self) -> float:
        """Return the mean over images."""
        return self.total.item() / self.n


class Sharpness(Metric):
    """How sharp generated images are, as a multiple of the real ones; neither more nor less is better than 1."""

    name, least = "sharpness", 1
    needs = {GENERATED: (Laplacians,), REAL: (Laplacians,)}
    values = {"sharpness": None}

    def check(self, features: Features, reference: Images) -> None:
        spec = reference.spec
        if spec.points or min(spec.height, spec.width) < 3:
            raise UsageError(f"metrics: {self.name} needs images of 3x3 pixels or more, but {reference.name} has none")

    def __call__(self, sets: Mapping[str, Statistics]) -> dict[str, float]:
        return {"sharpness": _ratio(sets, GENERATED)}


class ReconstructionSharpness(Sharpness):
    """How sharp the reconstructions of all real images are, as a multiple of these images."""

    name = "rsharpness"
    needs = {RECONSTRUCTED: (Laplacians,), REAL: (Laplacians,)}
    values = {"rsharpness": None}

    def __call__(self, sets: Mapping[str, Statistics]) -> dict[str, float]:
        return {"rsharpness": _ratio(sets, RECONSTRUCTED)}


def laplacian_variance(pixels: Tensor) -> Tensor:
    """Return the variance of each image's Laplacian over the pixels that have four neighbours, a mean over channels.

    Args:
        pixels: (N, C, H, W), 0 to 255, H and W at least 3.

    Returns:
        (N,) float64, for pixels in [0, 1].
    """
    channels = (pixels.double() / 255).flatten(0, 1).unsqueeze(1)
    kernel = channels.new_tensor(KERNEL)[None, None]
    return conv2d(channels, kernel).flatten(1).var(1, correction=0).view(pixels.shape[:2]).mean(1)


def _ratio(sets: Mapping[str, Statistics], which: str) -> float:
    real = sets[REAL][Laplacians].mean()
    if not real:
        raise UsageError("metrics: sharpness compares with real images, but these have no edges at all: leave it out")
    return sets[which][Laplacians].mean() / real
