"""Squared distances between many vectors, in float64 and in blocks: what the metrics of nearest neighbours share."""

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK = 1024  # rows per block: with 50,000 columns 400 MB
SAME = 1e-11  # of |x|^2 + |y|^2: below it lies only rounding, whatever float32 features are
TIE = 1e-10  # of a radius: nearer to it than this is on it, for the same two vectors may round in two ways


def squared(x: Tensor, y: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield (first row, squared distances (b, M) float64) of blocks of rows of x (N, D) to all of y (M, D).

    By a matrix product, ten times faster than differences; what its rounding leaves between equal vectors becomes 0.
    float32 would be wrong in the third digit of a nearest neighbour's distance.
    """
    center = y.double().mean(0)  # nearer to the origin less is lost
    y = y.double() - center
    y_norms = y.square().sum(1)
    for start in range(0, len(x), BLOCK):
        rows = x[start : start + BLOCK].double() - center
        norms = rows.square().sum(1, keepdim=True) + y_norms
        distances = torch.addmm(norms, rows, y.T, alpha=-2)
        yield start, torch.where(distances <= SAME * norms, 0.0, distances)


def radii(x: Tensor, k: int) -> Tensor:
    """Return the squared distance of each vector (N, D) to its k-th nearest other one, (N,) float64. Needs N > k."""
    found = []
    for start, distances in squared(x, x):
        row = torch.arange(len(distances), device=x.device)
        distances[row, start + row] = 0
        found.append(distances.kthvalue(k + 1, dim=1).values)  # the vector itself comes first
    return torch.cat(found)


def within(distances: Tensor, balls: Tensor, *, closed: bool) -> Tensor:
    """Tell which squared distances (b, M) lie inside balls of squared radii (M,), or, closed, on their surface too."""
    return distances <= balls * (1 + TIE) if closed else distances < balls * (1 - TIE)
