"""Resampling by two with the filter [1, 3, 3, 1], bilinear interpolation; beyond the border there are zeros.

The filter is [1, 2, 1] convolved with [1, 1], separable, and scaled so that the mean of an image is kept. Written as
sums of shifted images, which on a CPU take about a third of the time of a convolution per channel.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

BORDERS = {2: (0, 0, 1, 1), 3: (1, 1, 0, 0)}


def doubled(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, 2H, 2W)."""
    for dim, border in BORDERS.items():
        side = x.shape[dim]
        before, here, after = (pad(x, border).narrow(dim, i, side) for i in range(3))
        x = torch.stack([(before + 3 * here) / 4, (3 * here + after) / 4], dim + 1).flatten(dim, dim + 1)
    return x


def halved(x: Tensor) -> Tensor:
    """(N, C, H, W) with even sides -> (N, C, H/2, W/2)."""
    for dim, border in BORDERS.items():
        side = x.shape[dim] // 2
        even, odd = pad(x, border).unflatten(dim, (side + 1, 2)).unbind(dim + 1)
        first, second, third, fourth = (each.narrow(dim, i, side) for i in (0, 1) for each in (even, odd))
        x = (first + 3 * (second + third) + fourth) / 8
    return x
