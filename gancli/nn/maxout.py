"""Maxout (Goodfellow et al. 2013, Maxout Networks)."""

from torch import Tensor, nn


class Maxout(nn.Module):
    """A linear layer whose units return the maximum of ``pieces`` linear filters.

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
        return self.linear(x).unflatten(-1, (-1, self.pieces)).amax(-1)
