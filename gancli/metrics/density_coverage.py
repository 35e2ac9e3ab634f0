"""Density and coverage: Naeem et al. 2020, arXiv 2002.09797, eq. 5 and 6, as computed by their package prdc.

Balls are open here (<) but closed in precision and recall (<=), which matters only for repeated images.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from gancli.metrics.base import GENERATED, REAL, Metric, Statistics
from gancli.metrics.kept import KeptFeatures
from gancli.metrics.neighbours import radii, squared, within

K = 5


class DensityCoverage(Metric):
    """Density: mean number of real images' balls that contain a generated image, over k. Coverage: share of balls hit.

    Density has expectation 1 for real images and exceeds 1 if generated images concentrate in dense regions.
    """

    name, least = "density_coverage", K + 1
    needs = {GENERATED: (KeptFeatures,), REAL: (KeptFeatures,)}
    values = {"density": True, "coverage": True}
    constants = {"density_coverage_k": K}

    def __call__(self, sets: Mapping[str, Statistics]) -> dict[str, float]:
        found = density_coverage(sets[GENERATED][KeptFeatures].rows(), sets[REAL][KeptFeatures].rows())
        return dict(zip(self.values, found, strict=True))


def density_coverage(generated: Tensor, real: Tensor, k: int = K) -> tuple[float, float]:
    """Return density and coverage of generated features (N, D) given real ones (M, D)."""
    balls = radii(real, k)
    hits = torch.zeros((), dtype=torch.int64, device=real.device)
    hit = torch.zeros_like(balls, dtype=torch.bool)
    for _, distances in squared(generated, real):
        inside = within(distances, balls, closed=False)
        hits += inside.sum()
        hit |= inside.any(0)
    return hits.item() / (k * len(generated)), hit.double().mean().item()
