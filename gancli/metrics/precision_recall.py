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
        generated, real = sets[GENERATED][KeptFeatures].rows(), sets[REAL][KeptFeatures].rows()
        return {"precision": covered(generated, real), "recall": covered(real, generated)}


def covered(x: Tensor, y: Tensor, k: int = K) -> float:
    """Return the share of vectors x (N, D) that lie in the k-nearest-neighbour ball of any vector of y (M, D)."""
    balls = radii(y, k)
    inside = torch.cat([within(distances, balls, closed=True).any(1) for _, distances in squared(x, y)])
    return inside.double().mean().item()
