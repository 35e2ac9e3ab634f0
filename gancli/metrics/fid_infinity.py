"""FID of infinitely many generated images: Chong and Forsyth 2020, arXiv 1911.07023, section 4.

The bias of FID is proportional to 1/n, so a line through the FIDs of random subsets is extrapolated to 1/n = 0. The
bias due to the finite number of real images remains.
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
    """FID extrapolated from 15 subsets, the smallest with 5,000 images or a tenth of all; may be negative."""

    name, least = "fid_infinity", 150
    needs = {GENERATED: (KeptFeatures,), REAL: (Moments,)}
    values = {"fid_infinity": False}
    constants = {"fid_infinity_points": POINTS, "fid_infinity_smallest": SMALLEST, "fid_infinity_seed": SEED}

    def warn(self, sets: Mapping[str, Statistics]) -> str | None:
        n, dim = sets[GENERATED][KeptFeatures].rows().shape
        if smallest(n) > dim:
            return None
        return f"fid_infinity of {n:,} images: FIDs of {smallest(n):,} images in {dim} features are not linear in 1/n"

    def __call__(self, sets: Mapping[str, Statistics]) -> dict[str, float]:
        return {"fid_infinity": extrapolated(sets[GENERATED][KeptFeatures].rows(), sets[REAL][Moments].gaussian())}


def smallest(n: int) -> int:
    """Return the size of the smallest subset of n images."""
    return min(SMALLEST, n // 10)


def extrapolated(x: Tensor, real: Gaussian) -> float:
    """Return the intercept at 1/n = 0 of a least-squares line through the FIDs of subsets of features x (N, D)."""
    random = np.random.RandomState(SEED)
    sizes = np.linspace(smallest(len(x)), len(x), POINTS).astype(int)
    scores = []
    for size in sizes:
        moments = Moments(x.shape[1], x.device)
        rows = torch.from_numpy(random.choice(len(x), size, replace=False)).to(x.device)
        moments.update(x[rows])
        scores.append(fid(moments.gaussian(), real))
    return float(np.polyfit(1 / sizes, scores, 1)[1])
