"""Blockwise squared distances between many vectors in float64, for metrics based on nearest neighbours."""

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK = 1024  # rows per block, at most
CELLS = (
    4_000_000  # distances per block, at most: 32 MB. The system zeroes the pages of larger ones again for each block
)
SAME = 1e-11  # squared distances below this share of |x|^2 + |y|^2 are rounding errors of float32 features
TIE = 1e-10  # distances within this share of a radius count as equal to it: the same pair may be rounded in two ways


def squared(x: Tensor, y: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield (first row, squared distances (b, M) float64) from blocks of rows of x (N, D) to all of y (M, D).

    They are computed by a matrix product, which is ten times faster than differences; its rounding errors between equal
    vectors are set to 0. In float32, the third digit of a nearest neighbour's distance would be wrong.
    """
    size = min(BLOCK, max(CELLS // len(y), 1))
    center = y.double().mean(0)  # centring reduces cancellation
    y = y.double() - center
    y_norms = y.square().sum(1)
    for start in range(0, len(x), size):
        rows = x[start : start + size].double() - center
        norms = rows.square().sum(1, keepdim=True) + y_norms
        distances = torch.addmm(norms, rows, y.T, alpha=-2)
        yield start, distances.masked_fill_(distances <= norms.mul_(SAME), 0.0)


def radii(x: Tensor, k: int) -> Tensor:
    """Return the squared distance of each vector (N, D) to its k-th nearest neighbour, (N,) float64. Needs N > k."""
    found = []
    for start, distances in squared(x, x):
        row = torch.arange(len(distances), device=x.device)
        distances[row, start + row] = 0
        nearest = distances.topk(k + 1, largest=False).values  # k + 1, because the nearest is the vector itself
        found.append(nearest[:, -1])
    return torch.cat(found)


def within(distances: Tensor, balls: Tensor, *, closed: bool) -> Tensor:
    """Return which squared distances (b, M) lie inside balls of squared radii (M,), or on the surface if closed."""
    return distances <= balls * (1 + TIE) if closed else distances < balls * (1 - TIE)
