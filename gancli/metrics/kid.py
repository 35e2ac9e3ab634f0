"""Kernel Inception Distance: Binkowski et al. 2018, arXiv 1801.01401, section 4, with the settings of their code.

This is the squared maximum mean discrepancy with a cubic kernel. The estimate is unbiased, so that sets of different
sizes can be compared; small negative values mean no difference. Subsets are drawn as in torch-fidelity.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from gancli.metrics.base import GENERATED, REAL, Metric, Statistics
from gancli.metrics.kept import KeptFeatures

SUBSETS, SIZE, SEED = 100, 1000, 2020


class KID(Metric):
    """Mean and standard deviation over 100 subsets of 1000 images, or of half the images if there are fewer."""

    name, least = "kid", 4
    needs = {GENERATED: (KeptFeatures,), REAL: (KeptFeatures,)}
    values = {"kid": False, "kid_std": None}
    constants = {"kid_subsets": SUBSETS, "kid_subset_size": SIZE, "kid_seed": SEED}

    def __call__(self, sets: Mapping[str, Statistics]) -> dict[str, float]:
        scores = np.array(list(kid(sets[GENERATED][KeptFeatures].rows(), sets[REAL][KeptFeatures].rows())))
        return {"kid": float(scores.mean()), "kid_std": float(scores.std())}


def kid(x: Tensor, y: Tensor, subsets: int = SUBSETS, size: int = SIZE, seed: int = SEED) -> Iterator[float]:
    """Yield the distances between random subsets of features (N, D) and (M, D), computed in float64."""
    fewest = min(len(x), len(y))
    size = size if fewest >= size else fewest // 2
    random = np.random.RandomState(seed)
    for _ in range(subsets):
        rows = (torch.from_numpy(random.choice(len(each), size, replace=False)) for each in (x, y))
        yield mmd2(*(each[index.to(each.device)].double() for each, index in zip((x, y), rows)))


def mmd2(x: Tensor, y: Tensor) -> float:
    """Return the unbiased estimate of MMD^2 under k(a, b) = (a.b / D + 1)^3 for two sets of vectors, (m, D) each."""
    m, dim = x.shape
    xx, yy, xy = ((a @ b.T / dim + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    within = xx.sum() - xx.trace() + yy.sum() - yy.trace()
    return (within / (m * (m - 1)) - 2 * xy.sum() / m**2).item()
