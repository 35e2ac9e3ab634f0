"""Feature maps as vectors, with gradients in the memory format of the maps."""

from typing import Any

import torch
from torch import Tensor, nn


class Flatten(nn.Flatten):
    """As nn.Flatten, (N, C, H, W) -> (N, C H W); its gradient is in channels_last if its input is.

    nn.Flatten's gradient is always contiguous. What comes before in the network then meets two memory formats at once,
    for which there are no fast kernels: the gradient of a leaky ReLU takes thirty times as long on a CPU.
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(_Alike.apply(x))


class _Alike(torch.autograd.Function):
    """The identity, whose gradient has the memory format of its input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
        ctx.format = torch.channels_last if last else torch.contiguous_format
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0].contiguous(memory_format=ctx.format)
