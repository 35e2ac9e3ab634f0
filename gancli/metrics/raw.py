"""The pixels themselves as features: for path lengths that no network weighs, and as a baseline of other scores.

gancli eval ckpt=latest features=pixels 'metrics=[path_length]'
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gancli.metrics.features import Features, Images


class RawPixels(Features):
    """The pixels of an image, in [0, 1], as its features; no classes."""

    name = "pixels"

    def prepare(self, train: Callable[[], Images], device: torch.device) -> None:
        """Read the number of pixels."""
        self.dim, self.classes, self._device = math.prod(train().spec.shape), 0, device

    def protocol(self) -> dict[str, object]:
        return {"name": self.name, "dim": self.dim}

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        values = images.to(self._device).flatten(1)
        values = (values if values.is_floating_point() else values.float()) / 255
        return values, values.new_empty(len(values), 0)
