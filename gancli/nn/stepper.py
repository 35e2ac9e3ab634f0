"""Step-by-step evaluation of a network for sampling: the interface, and an implementation without a cache."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from gancli.nn.labels import Condition


class Stepper(ABC):
    """Evaluate the parameters of a network a few pixels at a time, each after the pixels it depends on.

    The values of a step with P pixels are rows, (P * n, ...), ordered by pixel, then by image. Pixels are numbered
    row * width + column.
    """

    pixels: list[Tensor]  # pixels of each step, (P,) int64 on the CPU

    @abstractmethod
    def params(self, step: int, colour: int = 0) -> Tensor:
        """Return the parameters at a step's pixels, (P * n, channels), once the colours before ``colour`` are put."""

    @abstractmethod
    def put(self, step: int, values: Tensor) -> None:
        """Set a step's pixels, (P * n, C). Later colours may hold any value; they are set again."""

    @abstractmethod
    def images(self) -> Tensor:
        """Return the images, (n, C, H, W)."""

    def start(self, label: Condition | None = None) -> None:
        """Start new images with the current weights, and what they are conditioned on."""

    def recorded(self) -> Tensor | None:
        """Return the last parameters of each pixel, (n, channels, H, W), for verification; None without a cache."""
        return None

    def nbytes(self) -> int:
        """Return the size of the cache in bytes."""
        return 0

    def rows(self, maps: Tensor) -> Tensor:
        """Return the pixels of maps, (n, K, H, W), as the rows of all steps, (H * W * n, K)."""
        return maps.flatten(2).permute(2, 0, 1)[torch.cat(self.pixels).to(maps.device)].flatten(0, 1)


class Whole(Stepper):
    """Evaluate the whole network for every pixel and colour.

    Args:
        network: maps images, (n, C, H, W), and labels to parameters, (n, channels, H, W).
        image: (n, C, H, W), the initial values of the pixels; modified in place.
        order: (H * W,) the pixels in the order in which they are sampled.
    """

    def __init__(self, network: Callable[[Tensor, Condition | None], Tensor], image: Tensor, order: Tensor) -> None:
        self.network, self.image = network, image
        self.label: Condition | None = None
        self.pixels = list(order.split(1))
        self.places = [divmod(p, image.shape[3]) for p in order.tolist()]

    def start(self, label: Condition | None = None) -> None:
        self.label = label

    def params(self, step: int, colour: int = 0) -> Tensor:
        row, column = self.places[step]
        return self.network(self.image, self.label)[:, :, row, column]

    def put(self, step: int, values: Tensor) -> None:
        row, column = self.places[step]
        self.image[:, :, row, column] = values

    def images(self) -> Tensor:
        return self.image
