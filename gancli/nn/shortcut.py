"""Residual connections."""

from torch import Tensor, nn


class Residual(nn.Module):
    """x + body(x), without an activation after the sum.

    Args:
        body: layers that keep the shape.
    """

    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)
