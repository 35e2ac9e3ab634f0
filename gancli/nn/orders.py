"""Orders in which the pixels of an image are generated: (H * W,) int64, pixels numbered row * width + column."""

from collections.abc import Callable

import torch
from torch import Tensor


def raster(height: int, width: int) -> Tensor:
    """Return raster order: row by row, each from left to right."""
    return torch.arange(height * width)


def s_curve(height: int, width: int) -> Tensor:
    """Return boustrophedon order: row by row, odd rows from right to left, so that successive pixels are adjacent."""
    rows = torch.arange(height * width).view(height, width)
    rows[1::2] = rows[1::2].flip(1)
    return rows.flatten()


def hilbert(height: int, width: int) -> Tensor:
    """Return the order of a Hilbert curve from the upper left, generalised to rectangles by recursive halving.

    Sides of odd length may need one diagonal step; for equal sides that are powers of two, it is the Hilbert curve.
    """
    path = _curve(0j, complex(width), complex(0, height))
    return torch.tensor([int(p.imag) * width + int(p.real) for p in path])


def _curve(start: complex, a: complex, b: complex) -> list[complex]:
    """Return the |a| x |b| cells from ``start``, along ``a`` and towards ``b``; columns are real, rows imaginary."""
    length, depth = round(abs(a)), round(abs(b))
    da, db = a / length, b / depth
    if depth == 1:
        return [start + i * da for i in range(length)]
    if length == 1:
        return [start + i * db for i in range(depth)]
    half_a, half_b = length // 2, depth // 2
    if 2 * length > 3 * depth:  # elongated: two curves end to end, the first with an even number of steps
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
    """Return the eight flips and transpositions of a curve, the curve itself first. (8, H * W)."""
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
    """Move the pixels of ``missing``, (H * W,) bool, to the end of an order, which is otherwise kept."""
    late = missing[order]
    return torch.cat([order[~late], order[late]])


def ranks(orders: Tensor) -> Tensor:
    """Return the position of each pixel in the orders, their inverse permutations. (..., H * W)."""
    return orders.argsort(-1)


def neighbours(rank: Tensor, height: int, width: int, kernel: int, dilation: int = 1) -> Tensor:
    """Return the ranks around each pixel, H * W outside the image. (..., H * W) -> (..., kernel^2, H, W)."""
    border = dilation * (kernel // 2)
    padded = torch.nn.functional.pad(rank.unflatten(-1, (height, width)), (border,) * 4, value=height * width)
    shifts = [(dy, dx) for dy in range(kernel) for dx in range(kernel)]
    maps = [padded[..., dilation * y :, dilation * x :][..., :height, :width] for y, x in shifts]
    return torch.stack(maps, -3)
