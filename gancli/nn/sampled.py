"""Images at other places, with gradients of gradients under every release of torch, as penalties on slopes need."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

BILINEAR, REFLECTION, CORNERS = 0, 2, True  # how grid_sampler_2d_backward() numbers the modes


def sampled(image: Tensor, grid: Tensor) -> Tensor:
    """As grid_sample(): bilinear, mirrored at the centres of the border pixels, (N, C, H, W) at (N, H', W', 2).

    It is linear in the image, so its gradient's gradient is itself; torch 2.6 has none. The grid gets no gradient.
    """
    return _Sampled.apply(image, grid)


class _Sampled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = image.shape
        return grid_sample(image, grid, padding_mode="reflection", align_corners=CORNERS)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (grid,) = ctx.saved_tensors
        return _Spread.apply(grads[0], grid, ctx.shape), None


class _Spread(torch.autograd.Function):
    """The adjoint: what each place has is spread over the pixels that it was read from."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        like, wanted = grad.new_empty(1).expand(shape), (True, False)  # the gradient of the image, not of the grid
        modes = BILINEAR, REFLECTION, CORNERS
        return torch.ops.aten.grid_sampler_2d_backward(grad, like, grid, *modes, wanted)[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (grid,) = ctx.saved_tensors
        return _Sampled.apply(grads[0], grid), None, None
