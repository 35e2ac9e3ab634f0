"""A sum with what goes round it."""

from torch import Tensor, nn


class Residual(nn.Module):
    """x + body(x), with nothing after the sum: what is added may be negative.

    Args:
        body: keeps the shape.
    """

    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)
