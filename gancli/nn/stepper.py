"""The evaluation of a network step by step, as samplers ask for it; here the whole network for every pixel."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor


class Stepper(ABC):
    """A network's parameters at a few pixels at a time, in an order in which all that they depend on is known.

    Values of a step are rows, (P * n, ...): its P pixels times the n images, pixel by pixel. Pixels are numbered
    row * width + column.
    """

    pixels: list[Tensor]  # of each step, (P,) int64 on the CPU

    @abstractmethod
    def params(self, step: int, colour: int = 0) -> Tensor:
        """Return the parameters at a step's pixels, (P * n, channels); the colours before ``colour`` have been put."""

    @abstractmethod
    def put(self, step: int, values: Tensor) -> None:
        """Set a step's pixels, (P * n, C); colours yet to come hold anything, and are set again."""

    @abstractmethod
    def images(self) -> Tensor:
        """Return the images, (n, C, H, W)."""

    def start(self, label: Tensor | None = None) -> None:
        """Begin other images: read the weights and the labels, (n,) int64, that they are made by."""

    def recorded(self) -> Tensor | None:
        """Return the parameters that were given last for each pixel, (n, channels, H, W), where they may be wrong."""
        return None

    def nbytes(self) -> int:
        """Return how much memory it takes while it is kept."""
        return 0

    def rows(self, maps: Tensor) -> Tensor:
        """Order the pixels of (n, K, H, W) by step: the rows of all steps, (H * W * n, K)."""
        return maps.flatten(2).permute(2, 0, 1)[torch.cat(self.pixels).to(maps.device)].flatten(0, 1)


class Whole(Stepper):
    """The whole network for every pixel and colour.

    Args:
        network: from (n, C, H, W) and labels to parameters (n, channels, H, W).
        image: (n, C, H, W); what pixels hold before their turn.
        order: (H * W,) the pixels in the order in which they are sampled.
    """

    def __init__(self, network: Callable[[Tensor, Tensor | None], Tensor], image: Tensor, order: Tensor) -> None:
        self.network, self.image = network, image
        self.label: Tensor | None = None
        self.pixels = list(order.split(1))
        self.places = [divmod(p, image.shape[3]) for p in order.tolist()]

    def start(self, label: Tensor | None = None) -> None:
        self.label = label

    def params(self, step: int, colour: int = 0) -> Tensor:
        row, column = self.places[step]
        return self.network(self.image, self.label)[:, :, row, column]

    def put(self, step: int, values: Tensor) -> None:
        row, column = self.places[step]
        self.image[:, :, row, column] = values

    def images(self) -> Tensor:
        return self.image
