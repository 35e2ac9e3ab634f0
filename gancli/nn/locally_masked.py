"""Locally masked convolutions (Jain, Abbeel & Pathak 2020, arXiv:2006.12486): one set of weights, any order."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d, pad

from gancli.nn import orders
from gancli.nn.incremental import Local, neighbours


class LocallyMaskedConv2d(nn.Conv2d, Local):
    """A convolution with a separate mask at every pixel, which hides the pixels later in an order (section 3).

    ``follow`` sets the order. The paper masks patches of the input before the multiplication (Algorithm 1); here the
    products of all taps are computed first, then masked, shifted and summed: the same result with less memory. Where
    the order is known to be regular, as flips of an s-curve are, it is a few ordinary convolutions, see lattices().

    Args:
        inputs: input channels.
        outputs: output channels.
        kernel: odd width of the kernel.
        dilation: pixels between taps.
        image: mask the pixel itself as well, for layers that read the image.
    """

    bias: nn.Parameter
    mask: Tensor  # (kernel^2, H, W) bool, the visible taps at each pixel, set by follow()
    lattices: "list[Lattice] | None" = None  # set by follow() for orders that it may read

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, *, dilation: int = 1, image: bool = False) -> None:
        super().__init__(inputs, outputs, kernel, padding=dilation * (kernel // 2), dilation=dilation)
        self.border, self.image = dilation * (kernel // 2), image

    def forward(self, x: Tensor) -> Tensor:  # (N, inputs, H, W) -> (N, outputs, H, W)
        if self.lattices:
            return self._by_lattice(x, self.lattices)
        k, border = self.kernel_size[0], self.border
        taps = self.weight.permute(2, 3, 0, 1).reshape(-1, self.in_channels, 1, 1)  # (k^2 * outputs, inputs, 1, 1)
        products = conv2d(pad(x, (border,) * 4), taps).unflatten(1, (k * k, -1))
        summed = _ShiftedSum.apply(products, self.mask.to(products.dtype), self.dilation[0])
        return summed + self.bias[:, None, None].to(summed.dtype)

    def _by_lattice(self, x: Tensor, lattices: "list[Lattice]") -> Tensor:
        (height, width), dilation = x.shape[2:], self.dilation[0]
        wide = pad(x, (self.border,) * 4)
        made = x.new_empty(x.shape[0], height, width, self.out_channels).movedim(
            -1, 1
        )  # as normalise() leaves its input
        for rows, columns, seen in lattices:
            weight = self.weight * seen.to(self.weight.device)
            (top, bottom), (left, right) = (_span(seen.any(axis)) for axis in (1, 0))
            part = wide[:, :, rows.start + dilation * top : height + dilation * bottom,
                        columns.start + dilation * left : width + dilation * right]  # fmt: skip
            weight = weight[:, :, top : bottom + 1, left : right + 1]
            strides = rows.step, columns.step
            made[:, :, rows, columns] = conv2d(part, weight, self.bias, stride=strides, dilation=dilation)
        return made

    def taps(self, height: int, width: int) -> tuple[Tensor, tuple[int, int]]:
        rows, columns = self._seen().T
        offsets = torch.stack([rows, columns], 1) * self.dilation[0] - self.border
        inside = neighbours(height, width, offsets)  # (H * W, T)
        seen = self.mask.cpu()[rows * self.kernel_size[0] + columns].flatten(1).T
        return torch.where(seen, inside, -1), (height, width)

    def matrix(self) -> tuple[Tensor, Tensor | None]:
        rows, columns = self._seen().to(self.weight.device).T
        return self.weight[:, :, rows, columns].permute(2, 1, 0).flatten(0, 1), self.bias

    def _seen(self) -> Tensor:
        """Return the positions in the kernel that are visible at any pixel, (T, 2)."""
        return self.mask.any(2).any(1).view(self.kernel_size).nonzero().cpu()


class Lattice(NamedTuple):
    """Places at regular distances, all of which see the same taps."""

    rows: slice
    columns: slice
    seen: Tensor  # (kernel, kernel) bool, on the CPU


def follow(network: nn.Module, rank: Tensor, height: int, width: int, *, read: bool = False) -> None:
    """Set the pixel order of all locally masked convolutions in ``network``; ``rank[i]`` is pixel i's position.

    Args:
        network: on the device of ``rank``, or on any if that may be read.
        rank: (H * W,) int64.
        height: of the images.
        width: likewise.
        read: look for lattices in the order, on the CPU, so that regular ones take less time.
    """
    found: dict[tuple[int, int, bool], tuple[Tensor, list[Lattice] | None]] = {}
    here = rank.view(height, width)
    for layer in (m for m in network.modules() if isinstance(m, LocallyMaskedConv2d)):
        key = kernel, dilation, image = layer.kernel_size[0], layer.dilation[0], layer.image
        if key not in found:
            around = orders.neighbours(rank, height, width, kernel, dilation)
            mask = around < here if image else around <= here
            regular = lattices(mask, around < height * width) if read else None
            found[key] = mask.to(layer.weight.device) if read else mask, regular
        layer.mask, layer.lattices = found[key]


def lattices(mask: Tensor, inside: Tensor) -> list[Lattice] | None:
    """Return the lattices that an image falls into, one or two of them; None: the order is not regular.

    Args:
        mask: the visible taps at each pixel, (kernel^2, H, W) bool.
        inside: the taps that lie in the image; those outside are zero, and may be seen.
    """
    for steps in ((1, 1), (2, 1), (1, 2)):
        places = [
            (slice(i, None, steps[0]), slice(j, None, steps[1])) for i in range(steps[0]) for j in range(steps[1])
        ]
        found = [_lattice(*place, mask, inside) for place in places if mask[:, *place].numel()]
        if None not in found:
            return [each for each in found if each is not None]
    return None


def _lattice(rows: slice, columns: slice, mask: Tensor, inside: Tensor) -> Lattice | None:
    here, inside = mask[:, rows, columns].flatten(1), inside[:, rows, columns].flatten(1)
    seen, side = here.any(1), round(len(mask) ** 0.5)
    if not seen.any() or ((here != seen[:, None]) & inside).any():
        return None
    return Lattice(rows, columns, seen.view(side, side))


def _span(used: Tensor) -> tuple[int, int]:
    """Return the first and the last true place."""
    places = used.nonzero()[:, 0].tolist()
    return places[0], places[-1]


class _ShiftedSum(torch.autograd.Function):
    """Sum the products of taps, (N, k^2, C, H + 2 border, W + 2 border), each masked and shifted into place."""

    @staticmethod
    def forward(ctx: Any, products: Tensor, mask: Tensor, dilation: int) -> Tensor:
        ctx.save_for_backward(mask)
        ctx.shape, ctx.dilation = products.shape, dilation
        total = products.new_zeros(products.shape[0], products.shape[2], *mask.shape[1:])
        for tap, seen in zip(_shifted(products, mask, dilation), mask):
            total.addcmul_(tap, seen)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (mask,) = ctx.saved_tensors
        products = gradient.new_zeros(ctx.shape)
        for tap, seen in zip(_shifted(products, mask, ctx.dilation), mask):
            torch.mul(gradient, seen, out=tap)
        return products, None, None


def _shifted(products: Tensor, mask: Tensor, dilation: int) -> list[Tensor]:
    """Return the views of each tap's products that lie over the image, (N, C, H, W) each."""
    (taps, height, width), side = mask.shape, round(mask.shape[0] ** 0.5)
    places = [divmod(i, side) for i in range(taps)]
    return [
        products[:, i, :, dilation * y : dilation * y + height, dilation * x : dilation * x + width]
        for i, (y, x) in enumerate(places)
    ]
