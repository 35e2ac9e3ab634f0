"""Improved precision and recall: Kynkaanniemi et al. 2019, arXiv 1904.06991, section 2, eq. 1 to 3.

In the features of features=..., not the VGG-16 of the paper: compare only with numbers of the same extractor.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from gancli.metrics.base import GENERATED, REAL, Metric, Statistics
from gancli.metrics.kept import KeptFeatures
from gancli.metrics.neighbours import radii, squared, within

K = 3


class PrecisionRecall(Metric):
    """Precision: generated images among the real ones; recall: real images among the generated ones."""

    name, least = "precision_recall", K + 1
    needs = {GENERATED: (KeptFeatures,), REAL: (KeptFeatures,)}
    values = {"precision": True, "recall": True}
    constants = {"precision_recall_k": K}

    def __call__(self, sets: Mapping[str, Statistics]) -> dict[str, float]:
        generated, real = sets[GENERATED][KeptFeatures].rows(), sets[REAL][KeptFeatures].rows()
        return {"precision": covered(generated, real), "recall": covered(real, generated)}


def covered(x: Tensor, y: Tensor, k: int = K) -> float:
    """Return the share of x (N, D) that lies in the k-nearest-neighbour ball of one or more of y (M, D)."""
    balls = radii(y, k)
    inside = torch.cat([within(distances, balls, closed=True).any(1) for _, distances in squared(x, y)])
    return inside.double().mean().item()
