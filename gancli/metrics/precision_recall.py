"""Improved precision and recall: Kynkaanniemi et al. 2019, arXiv 1904.06991, section 2, eq. 1 to 3.

It uses the features of features=..., not those of the paper's VGG-16, so compare only with the same extractor.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from gancli.metrics.base import GENERATED, REAL, Metric, Statistics
from gancli.metrics.kept import KeptFeatures
from gancli.metrics.neighbours import radii, squared, within

K = 3


class PrecisionRecall(Metric):
    """Precision: share of generated images inside the manifold of real ones. Recall: the converse."""

    name, least = "precision_recall", K + 1
    needs = {GENERATED: (KeptFeatures,), REAL: (KeptFeatures,)}
    values = {"precision": True, "recall": True}
    constants = {"precision_recall_k": K}

    def __call__(self, sets: Mapping[str, Statistics]) -> dict[str, float]:
        found = precision_recall(sets[GENERATED][KeptFeatures].rows(), sets[REAL][KeptFeatures].rows())
        return dict(zip(self.values, found, strict=True))


def precision_recall(generated: Tensor, real: Tensor, k: int = K) -> tuple[float, float]:
    """Return precision and recall of generated features (N, D) given real ones (M, D).

    They are the shares of each that lie in the k-nearest-neighbour ball of any vector of the other.
    """
    real_balls, generated_balls = radii(real, k), radii(generated, k)
    precise, recalled = [], torch.zeros_like(real_balls, dtype=torch.bool)
    for start, distances in squared(generated, real):
        precise.append(within(distances, real_balls, closed=True).any(1))
        balls = generated_balls[start : start + len(distances), None]
        recalled |= within(distances, balls, closed=True).any(0)
    return torch.cat(precise).double().mean().item(), recalled.double().mean().item()
