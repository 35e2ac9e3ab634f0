"""Dropout as a source of noise: active at test time, with an explicit generator."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Generator, Tensor, nn


class NoiseDropout(nn.Module):
    """Dropout that stays active in eval mode.

    Args:
        p: probability that a value is dropped, 0 <= p < 1; the others are scaled by 1 / (1 - p).

    Raises:
        ValueError: p is out of range.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p={p} must be 0 or more and below 1")
        self.p = p
        self.generator: Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.p == 0:
            return x
        kept = torch.rand(x.shape, device=x.device, generator=self.generator).ge_(self.p)  # booleans would be slower
        return x * kept.to(x.dtype) / (1 - self.p)


@contextmanager
def drawing(module: nn.Module, generator: Generator | None) -> Iterator[None]:
    """Make every NoiseDropout in ``module`` use ``generator`` inside the context, and the global one afterwards."""
    layers = [layer for layer in module.modules() if isinstance(layer, NoiseDropout)]
    for layer in layers:
        layer.generator = generator
    try:
        yield
    finally:
        for layer in layers:
            layer.generator = None
