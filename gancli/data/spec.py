"""What a model is told about the data, and what a training step is given."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor


@dataclass(frozen=True)
class ImageSpec:
    """Shape of the images, read off the data once and typed nowhere else."""

    channels: int
    height: int
    width: int
    num_classes: int = 0  # 0: the data has no labels
    source_channels: int = 0  # image-to-image: channels of the source picture
    paired: bool = False  # image-to-image: the image is the true translation of its source
    levels: int = 256  # values of a channel, evenly spaced over [-1, 1]; 2: binary images
    dequantised: bool = False  # models see the levels spread over [-1, 1], continuous; stored pixels are on the grid
    nominal: bool = False  # levels are codes without an order: a model embeds them
    points: bool = False  # no pictures: points of `channels` coordinates, continuous and in the data's own units

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.height, self.width

    @property
    def size(self) -> str:
        """The size as messages show it, see sides()."""
        return sides(self.height, self.width)


def sides(height: int, width: int) -> str:
    """Return a size as messages show it: ``17x13``, the width first, as the viewers of pictures do."""
    return f"{width}x{height}"


def described(shape: Sequence[int]) -> str:
    """Return a shape (C, H, W) as messages show it: ``17x13 grey``, ``17x13 RGB``."""
    channels, height, width = shape
    return f"{sides(height, width)} {({1: 'grey', 3: 'RGB'}).get(channels, f'with {channels} channels')}"


class Batch(NamedTuple):
    """One batch on the device."""

    image: Tensor  # (N, C, H, W) float32 in [-1, 1]; points: (N, D, 1, 1), anywhere
    label: Tensor | None = None  # (N,) int64
    source: Tensor | None = None  # (N, C', H, W) float32 in [-1, 1]
    progress: Tensor | None = None  # () float32: images seen / images in all, in [0, 1]


def scaled(pixels: Tensor) -> Tensor:
    """uint8 of any shape -> float32 in [-1, 1], contiguous; points, float32, stay as they are."""
    if pixels.dtype != torch.uint8:
        return pixels
    # In place and after the cast: on the CPU uint8 / 127.5 takes 15 times as long.
    return pixels.to(torch.float32, memory_format=torch.contiguous_format).div_(127.5).sub_(1.0)


def dequantised(image: Tensor, levels: int, generator: Generator | None) -> Tensor:
    """Spread levels on their grid in [-1, 1] over all of it, each uniformly over its share. Any shape -> the same."""
    level = ((image + 1) * ((levels - 1) / 2)).round()
    noise = torch.rand(image.shape, dtype=image.dtype, device=image.device, generator=generator)
    return (level + noise) * (2 / levels) - 1


def quantise(image: Tensor) -> Tensor:
    """Map [-1, 1] to uint8 by rounding: the bytes an image file holds, and what every metric is computed on."""
    return ((image.float() + 1) * 127.5).clamp_(0, 255).round_().to(torch.uint8)
