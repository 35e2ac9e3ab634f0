"""Orders in which the pixels of an image are generated: (H * W,) int64, pixels numbered row * width + column."""

from collections.abc import Callable

import torch
from torch import Tensor


def raster(height: int, width: int) -> Tensor:
    """Row by row, each from the left."""
    return torch.arange(height * width)


def s_curve(height: int, width: int) -> Tensor:
    """Row by row, odd rows from the right: each pixel is next to the one before it (boustrophedon)."""
    rows = torch.arange(height * width).view(height, width)
    rows[1::2] = rows[1::2].flip(1)
    return rows.flatten()


def hilbert(height: int, width: int) -> Tensor:
    """A Hilbert curve from the upper left, on rectangles too: halves of halves, next to each other.

    Sides of odd length may take one diagonal step; on sides that are powers of two it is Hilbert's own.
    """
    path = _curve(0j, complex(width), complex(0, height))
    return torch.tensor([int(p.imag) * width + int(p.real) for p in path])


def _curve(start: complex, a: complex, b: complex) -> list[complex]:
    """Visit the |a| x |b| cells from ``start`` on, along ``a`` and filling towards ``b``; columns are real."""
    length, depth = round(abs(a)), round(abs(b))
    da, db = a / length, b / depth
    if depth == 1:
        return [start + i * da for i in range(length)]
    if length == 1:
        return [start + i * db for i in range(depth)]
    half_a, half_b = length // 2, depth // 2
    if 2 * length > 3 * depth:  # long: two curves end to end, an even number of steps in the first
        first = da * (half_a + (half_a % 2 if length > 2 else 0))
        return _curve(start, first, b) + _curve(start + first, a - first, b)
    first = db * (half_b + (half_b % 2 if depth > 2 else 0))
    near = da * half_a
    out = _curve(start, first, near)
    along = _curve(start + first, a, b - first)
    back = _curve(start + a - da + first - db, -first, near - a)
    return out + along + back


CURVES: dict[str, Callable[[int, int], Tensor]] = {"raster": raster, "s_curve": s_curve, "hilbert": hilbert}


def symmetries(curve: Callable[[int, int], Tensor], height: int, width: int) -> Tensor:
    """Return the eight images of a curve under flips and transposition, itself first. (8, H * W)."""
    found = []
    for transposed in (False, True):
        order = curve(width, height) if transposed else curve(height, width)
        across = height if transposed else width
        rows, columns = order // across, order % across
        if transposed:
            rows, columns = columns, rows
        for r in (rows, height - 1 - rows):
            found += [r * width + c for c in (columns, width - 1 - columns)]
    return torch.stack(found)


def last(order: Tensor, missing: Tensor) -> Tensor:
    """Move the pixels of ``missing``, (H * W,) bools, to the end of an order, which is else kept."""
    late = missing[order]
    return torch.cat([order[~late], order[late]])


def ranks(orders: Tensor) -> Tensor:
    """Return when each pixel has its turn, the inverse of the orders. (..., H * W)."""
    return orders.argsort(-1)


def neighbours(rank: Tensor, height: int, width: int, kernel: int, dilation: int = 1) -> Tensor:
    """Return the ranks around each pixel, H * W outside of the image. (..., H * W) -> (..., kernel^2, H, W)."""
    border = dilation * (kernel // 2)
    padded = torch.nn.functional.pad(rank.unflatten(-1, (height, width)), (border,) * 4, value=height * width)
    shifts = [(dy, dx) for dy in range(kernel) for dx in range(kernel)]
    maps = [padded[..., dilation * y :, dilation * x :][..., :height, :width] for y, x in shifts]
    return torch.stack(maps, -3)
