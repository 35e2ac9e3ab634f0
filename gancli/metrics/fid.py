"""Frechet Inception Distance: Heusel et al. 2017, arXiv 1706.08500, eq. 6, by symmetric eigendecompositions.

The usual ``scipy.linalg.sqrtm`` of the product of covariances is seven times slower, and wrong in the sixth digit if
there are fewer images than features; SciPy 1.18 removed the form of the call that most programs use.
"""

from collections.abc import Mapping

import numpy as np

from gancli.errors import UsageError
from gancli.metrics.base import GENERATED, REAL, Metric, Statistics
from gancli.metrics.moments import Gaussian, Moments


class FID(Metric):
    """Squared Frechet distance between Gaussians with the mean and covariance (ddof 1) of the features."""

    name = "fid"
    needs = {GENERATED: (Moments,), REAL: (Moments,)}
    values = {"fid": False}

    def warn(self, sets: Mapping[str, Statistics]) -> str | None:
        n, dim = min(sets[GENERATED][Moments].n, sets[REAL][Moments].n), sets[GENERATED][Moments].dim
        return few(n, dim)

    def __call__(self, sets: Mapping[str, Statistics]) -> dict[str, float]:
        return {"fid": fid(sets[GENERATED][Moments].gaussian(), sets[REAL][Moments].gaussian())}


def few(n: int, dim: int) -> str | None:
    """Return a warning if n images are too few for a reliable covariance of ``dim`` features, else None."""
    if n >= 10 * dim and (dim != 2048 or n >= 10_000):
        return None
    singular = "its covariance is singular and " if n <= dim else ""
    return f"FID of {n:,} images: {singular}it is biased upwards; compare it only with FIDs of as many images"


def fid(a: Gaussian, b: Gaussian) -> float:
    """Return the squared Frechet distance of two Gaussians, at least 0. Raises UsageError if they are not finite."""
    if a.n > b.n:
        a, b = b, a  # the distance is symmetric; the rank of the first set is used
    return frechet_distance(a.mean, a.cov, b.mean, b.cov, rank=a.n - 1)


def frechet_distance(
    mu1: np.ndarray,  # (D,) float64
    sigma1: np.ndarray,  # (D, D) float64, symmetric, positive semidefinite
    mu2: np.ndarray,
    sigma2: np.ndarray,
    rank: int | None = None,  # upper bound of sigma1's rank: n1 - 1 for a covariance of n1 images; None: full rank
) -> float:
    """Return |mu1 - mu2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) without the square root of a non-symmetric matrix.

    With S1 = L L^T, the eigenvalues of S1 S2 are those of the symmetric matrix L^T S2 L. Below full rank, eigenvalues
    that should be zero are rounding errors e, whose roots add up to D sqrt(e); ``rank`` leaves them out. The result
    equals that of the nuclear norm |X1 X2^T|_* of the centred features, but does not need the features.
    """
    left = _root(_symmetric(sigma1), len(sigma1) if rank is None else rank)  # (D, r)
    squared = np.linalg.eigvalsh(_symmetric(left.T @ sigma2 @ left))  # (r,)
    covariance = np.trace(sigma1) + np.trace(sigma2) - 2 * np.sqrt(squared.clip(min=0)).sum()
    return max(float(((mu1 - mu2) ** 2).sum() + covariance), 0.0)


def _root(matrix: np.ndarray, rank: int) -> np.ndarray:
    """Return a matrix L (D, r) with L L^T = matrix: the Cholesky factor, three times faster, if it exists."""
    if rank >= len(matrix):
        try:
            return np.linalg.cholesky(matrix)
        except np.linalg.LinAlgError:  # singular, because some features are constant
            pass
    values, vectors = np.linalg.eigh(matrix)  # ascending
    low = max(len(values) - rank, 0)
    return vectors[:, low:] * np.sqrt(values[low:].clip(min=0))


def _symmetric(matrix: np.ndarray) -> np.ndarray:
    if not np.isfinite(matrix).all():
        raise UsageError(
            "the features are not finite, so the network's weights must be damaged; choose other features=..."
        )
    return (matrix + matrix.T) / 2
