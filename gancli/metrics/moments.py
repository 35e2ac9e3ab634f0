"""Streaming mean and covariance of features; memory does not grow with the number of images."""

from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from gancli.data import untrusted
from gancli.data.untrusted import Unreadable
from gancli.files import replacing
from gancli.metrics.base import Batch, SetInfo, Statistic

ROWS = 500  # rows gathered for each x^T x; a tenth of this would be five times slower
ROUNDING = 1e-7  # of eigenvalues, relative to the size of a covariance: files may have been made in float32
UNKNOWN = 2**31 - 1  # number of images for files that do not state it, assumed to be enough for full rank


class Gaussian(NamedTuple):
    """Mean and covariance of the features of a set of images."""

    n: int  # images
    mean: np.ndarray  # (D,) float64
    cov: np.ndarray  # (D, D) float64, with ddof 1


class Moments(Statistic):
    """Raw float64 sums of x and x x^T. Sums of shards are merged by addition; ``update`` does not synchronise."""

    def __init__(self, dim: int, device: torch.device | str = "cpu") -> None:
        self.n, self.dim = 0, dim
        self._sum = torch.zeros(dim, dtype=torch.float64, device=device)
        self._outer = torch.zeros(dim, dim, dtype=torch.float64, device=device)
        self._waiting: list[Tensor] = []

    @classmethod
    def of(cls, about: SetInfo) -> Self:
        return cls(about.dim, about.device)

    def add(self, batch: Batch) -> None:
        assert batch.features is not None  # requested by `network`
        self.update(batch.features)

    def update(self, features: Tensor) -> None:
        """Add features (N, D) of any float dtype."""
        self.n += len(features)
        self._waiting.append(features.detach())
        if sum(map(len, self._waiting)) >= ROWS:
            self._flush()

    def merge(self, other: "Moments") -> None:
        """Add the sums of another shard."""
        self._flush()
        other._flush()
        self.n += other.n
        self._sum += other._sum.to(self._sum.device)
        self._outer += other._outer.to(self._outer.device)

    def gaussian(self) -> Gaussian:
        """Return n, mean and covariance (ddof 1, as in TTUR and pytorch-fid). Raises ValueError below two images."""
        self._flush()
        if self.n < 2:
            raise ValueError(f"a covariance needs 2 images or more, got {self.n}")
        mean = self._sum / self.n
        cov = (self._outer - self.n * torch.outer(mean, mean)) / (self.n - 1)
        return Gaussian(self.n, mean.cpu().numpy(), cov.cpu().numpy())

    def _flush(self) -> None:
        if self._waiting:
            x = torch.cat(self._waiting).to(self._sum)  # (rows, D) float64
            self._sum += x.sum(0)
            self._outer += x.T @ x
            self._waiting.clear()


def save(path: Path, gaussian: Gaussian) -> None:
    """Write an npz file with ``mu``, ``sigma`` and ``n`` atomically; pytorch-fid can read it. Raises OSError."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, mu=gaussian.mean, sigma=gaussian.cov, n=np.int64(gaussian.n))


def load(path: Path) -> Gaussian:
    """Read a file written by ``save`` or by pytorch-fid.

    Raises:
        Unreadable: the file is no such file, or is damaged, or what it holds is no mean and covariance.
    """
    mean, cov, n = untrusted.npz(path, ["mu"], ["sigma"], ["n"])
    if mean is None or cov is None:
        raise Unreadable("it holds no mu and sigma")
    for name, each in {"mu": mean, "sigma": cov}.items():
        if each.dtype.kind not in "fiu" or not np.isfinite(each).all():
            raise Unreadable(f"{name} ({each.dtype}) holds more than finite numbers")
    if mean.ndim != 1 or not len(mean) or cov.shape != (len(mean), len(mean)):
        raise Unreadable(f"mu has the shape {mean.shape} and sigma {cov.shape}; allowed are (D,) and (D, D)")
    if n is not None and (n.size != 1 or n.dtype.kind not in "iu" or n.item() < 2):
        raise Unreadable(f"n, the number of images, is {n.tolist() if n.size == 1 else n.shape}; allowed is 2 or more")
    cov = cov.astype(np.float64)
    _check_covariance(cov)
    return Gaussian(UNKNOWN if n is None else int(n.item()), mean.astype(np.float64), cov)


def _check_covariance(cov: np.ndarray) -> None:
    """Refuse a matrix (D, D) that is not symmetric and positive semidefinite, up to rounding. Raises Unreadable."""
    scale = ROUNDING * np.abs(cov).max() * len(cov)  # of the largest eigenvalue, at most
    if np.abs(cov - cov.T).max() > scale:
        raise Unreadable("sigma is not symmetric, so it is no covariance")
    try:  # the factor exists if no eigenvalue is below -scale
        np.linalg.cholesky((cov + cov.T) / 2 + (scale + np.finfo(float).tiny) * np.eye(len(cov)))
    except np.linalg.LinAlgError:
        raise Unreadable("sigma has negative eigenvalues, so it is no covariance") from None


class Precomputed(NamedTuple):
    """A Gaussian read from a file, with the interface of ``Moments``."""

    known: Gaussian

    @property
    def n(self) -> int:
        return self.known.n

    def gaussian(self) -> Gaussian:
        return self.known
