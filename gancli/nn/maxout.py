"""Maxout (Goodfellow et al. 2013, Maxout Networks)."""

from typing import Any

import torch
from torch import Tensor, nn


class Maxout(nn.Module):
    """A linear layer whose units return the maximum of ``pieces`` linear filters.

    The filters are ordered by piece and then by unit, so that the maximum is one of contiguous rows.

    Args:
        inputs: input features.
        units: output features.
        pieces: linear filters per unit.
    """

    def __init__(self, inputs: int, units: int, pieces: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, units * pieces)
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:  # (N, inputs) -> (N, units)
        return _Largest.apply(self.linear(x).unflatten(-1, (self.pieces, -1)))

    def rows_by_unit(self) -> Tensor:
        """Return where each filter was when they were ordered by unit and then by piece, (units * pieces,) int64."""
        return torch.arange(self.linear.out_features).view(-1, self.pieces).T.flatten()


class _Largest(torch.autograd.Function):
    """The maximum over the last axis but one, whose gradient equal values share, as in Tensor.amax().

    That one counts booleans on the way back, which takes a CPU ten times as long. It can be differentiated twice.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # (..., pieces, units) -> (..., units)
        largest = x.amax(-2)
        ctx.save_for_backward(x, largest)
        return largest

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        x, largest = ctx.saved_tensors
        attained = x.detach().clone().eq_(largest.detach().unsqueeze(-2))  # 0 or 1, without booleans
        return attained * (gradient / attained.sum(-2)).unsqueeze(-2)
