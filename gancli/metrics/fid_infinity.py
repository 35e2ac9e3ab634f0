"""FID of infinitely many generated images: Chong and Forsyth 2020, arXiv 1911.07023, section 4.

The bias of FID falls as 1/n: a line through the FIDs of random subsets meets 1/n = 0 at the FID without it. What the
reference's own finite number adds is still in it.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from gancli.metrics.base import GENERATED, REAL, Metric, Statistics
from gancli.metrics.fid import fid
from gancli.metrics.kept import KeptFeatures
from gancli.metrics.moments import Gaussian, Moments

POINTS, SMALLEST, SEED = 15, 5000, 0


class FIDInfinity(Metric):
    """Extrapolated from 15 subsets, from 5,000 images or a tenth of them on; may come out below zero."""

    name, least = "fid_infinity", 150
    needs = {GENERATED: (KeptFeatures,), REAL: (Moments,)}
    values = {"fid_infinity": False}
    constants = {"fid_infinity_points": POINTS, "fid_infinity_smallest": SMALLEST, "fid_infinity_seed": SEED}

    def warn(self, sets: Mapping[str, Statistics]) -> str | None:
        n, dim = sets[GENERATED][KeptFeatures].rows().shape
        if smallest(n) > dim:
            return None
        return f"fid_infinity of {n:,} images: subsets of {smallest(n):,} with {dim} features do not lie on the line"

    def __call__(self, sets: Mapping[str, Statistics]) -> dict[str, float]:
        return {"fid_infinity": extrapolated(sets[GENERATED][KeptFeatures].rows(), sets[REAL][Moments].gaussian())}


def smallest(n: int) -> int:
    """Return the size of the smallest subset of n images."""
    return min(SMALLEST, n // 10)


def extrapolated(x: Tensor, real: Gaussian) -> float:
    """Return the intercept of the least-squares line of FID over 1/n for subsets of x (N, D)."""
    random = np.random.RandomState(SEED)
    sizes = np.linspace(smallest(len(x)), len(x), POINTS).astype(int)
    scores = []
    for size in sizes:
        moments = Moments(x.shape[1], x.device)
        rows = torch.from_numpy(random.choice(len(x), size, replace=False)).to(x.device)
        moments.update(x[rows])
        scores.append(fid(moments.gaussian(), real))
    return float(np.polyfit(1 / sizes, scores, 1)[1])
