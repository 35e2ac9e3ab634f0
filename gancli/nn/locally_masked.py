"""Locally masked convolutions (Jain, Abbeel & Pathak 2020, arXiv:2006.12486): one set of weights, any order."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d, pad

from gancli.nn import orders
from gancli.nn.incremental import Local, neighbours


class LocallyMaskedConv2d(nn.Conv2d, Local):
    """A convolution with a separate mask at every pixel, which hides the pixels later in an order (section 3).

    ``follow`` sets the order. The paper masks patches of the input before the multiplication (Algorithm 1); here the
    products of all taps are computed first, then masked, shifted and summed: the same result with less memory.

    Args:
        inputs: input channels.
        outputs: output channels.
        kernel: odd width of the kernel.
        dilation: pixels between taps.
        image: mask the pixel itself as well, for layers that read the image.
    """

    bias: nn.Parameter
    mask: Tensor  # (kernel^2, H, W) bool, the visible taps at each pixel, set by follow()

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, *, dilation: int = 1, image: bool = False) -> None:
        super().__init__(inputs, outputs, kernel, padding=dilation * (kernel // 2), dilation=dilation)
        self.border, self.image = dilation * (kernel // 2), image

    def forward(self, x: Tensor) -> Tensor:  # (N, inputs, H, W) -> (N, outputs, H, W)
        k, border = self.kernel_size[0], self.border
        taps = self.weight.permute(2, 3, 0, 1).reshape(-1, self.in_channels, 1, 1)  # (k^2 * outputs, inputs, 1, 1)
        products = conv2d(pad(x, (border,) * 4), taps).unflatten(1, (k * k, -1))
        return _ShiftedSum.apply(products, self.mask.to(products.dtype), self.dilation[0]) + self.bias[:, None, None]

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


def follow(network: nn.Module, rank: Tensor, height: int, width: int) -> None:
    """Set the pixel order of all locally masked convolutions in ``network``; ``rank[i]`` is pixel i's position."""
    masks: dict[tuple[int, int, bool], Tensor] = {}
    here = rank.view(height, width)
    for layer in (m for m in network.modules() if isinstance(m, LocallyMaskedConv2d)):
        key = kernel, dilation, image = layer.kernel_size[0], layer.dilation[0], layer.image
        if key not in masks:
            around = orders.neighbours(rank, height, width, kernel, dilation)
            masks[key] = around < here if image else around <= here
        layer.mask = masks[key]


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
