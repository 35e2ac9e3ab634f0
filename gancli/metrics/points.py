"""Feature extractors for points. The features are the coordinates, so that scores compare the points themselves."""

from collections.abc import Callable

import torch
from torch import Tensor

from gancli.errors import UsageError
from gancli.metrics.features import Features, Images


class Coordinates(Features):
    """The coordinates of each point as its features; no classes."""

    name, points = "points", True

    def prepare(self, train: Callable[[], Images], device: torch.device) -> None:
        self.dim, self.classes, self.device = train().spec.channels, 0, device

    def protocol(self) -> dict[str, object]:
        return {"name": self.name, "dim": self.dim}

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        points = images.to(self.device).flatten(1)
        return points, points.new_empty(len(points), 0)


class NearestMode(Coordinates):
    """The coordinates as features; the logits are minus half the squared Mahalanobis distances to the data's modes."""

    name = "modes"

    def prepare(self, train: Callable[[], Images], device: torch.device) -> None:
        """Read the modes of the data. Raises UsageError if it has none."""
        super().prepare(train, device)
        images = train()
        if images.modes is None:
            raise UsageError(f"features=modes: {images.name} is not a mixture of modes: choose features=points")
        self.centres = torch.from_numpy(images.modes.centres).to(device)  # (K, D)
        self.std = torch.from_numpy(images.modes.std).to(device)  # (K,)
        self.classes = len(self.centres)

    def protocol(self) -> dict[str, object]:
        return {**super().protocol(), "modes": self.classes, "std": self.std.tolist()}

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        points = images.to(self.device).flatten(1)
        # Not by a matrix product: |x|^2 - 2 xc + |c|^2 suffers from cancellation if modes are narrow.
        distance = (points[:, None] - self.centres).square().sum(2)  # (N, K)
        return points, -0.5 * distance / self.std.square()
