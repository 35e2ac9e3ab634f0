"""What a model is told about the data, and what a training step is given."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


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
    points: bool = False  # no pictures: points of `channels` coordinates, continuous and in the data's own units

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.height, self.width


class Batch(NamedTuple):
    """One batch on the device."""

    image: Tensor  # (N, C, H, W) float32 in [-1, 1]; points: (N, D, 1, 1), anywhere
    label: Tensor | None = None  # (N,) int64
    source: Tensor | None = None  # (N, C', H, W) float32 in [-1, 1]
    progress: Tensor | None = None  # () float32: images seen / images in all, in [0, 1]
