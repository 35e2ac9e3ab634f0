"""Images with a missing part, and a model's completions.

gancli sample ckpt=latest view=completion view.mask=top
gancli complete ckpt=latest image=face.png mask=hole.png    # the same with the probability of each completion
"""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from gancli.data import untrusted
from gancli.data.decode import quiet
from gancli.data.levels import binarized
from gancli.data.pixels import Depth, depth_warning, to_array
from gancli.data.spec import ImageSpec, quantise, scaled
from gancli.data.untrusted import Unreadable
from gancli.errors import UsageError, did_you_mean
from gancli.files import short
from gancli.models.base import Model
from gancli.models.explicit import Explicit
from gancli.ranges import Positive
from gancli.views import base
from gancli.views.base import Batches, Picture, RunData, View
from gancli.views.grids import make_grid

log = logging.getLogger("gancli")
HALVES = {  # the missing part: rows and columns as shares of the image
    "bottom": ((1 / 2, 1), (0, 1)),
    "top": ((0, 1 / 2), (0, 1)),
    "left": ((0, 1), (0, 1 / 2)),
    "right": ((0, 1), (1 / 2, 1)),
    "center": ((1 / 4, 3 / 4), (1 / 4, 3 / 4)),
}
GREY = 0.0  # value of missing pixels in a grid, in [-1, 1]
SHOWN = 8  # number of images if none are named


class Completed(NamedTuple):
    """Images and their completions, which are drawn while they are read."""

    names: list[str]  # names of the images
    image: Tensor  # (N, C, H, W) in [-1, 1], whole
    mask: Tensor  # (H, W) bool, true where a pixel is missing
    label: Tensor | None  # (N,) int64
    n: int  # completions of each image
    done: Iterator[Tensor]  # batches (b, C, H, W) in [-1, 1], those of the first image first; to be read once


class Completion(View):
    """A row per image: the image, the image with its missing part grey, and its completions.

    The picture shows the first ones where there are more than a grid shows; all become files.

    Args:
        mask: the missing part: bottom, top, left, right, center, or an image file, white where pixels are missing.
        image: numbers of images in a split of the run's data, or an image file; None: the first eight.
        completions: number of completions of each image.
        split: the split that the numbers refer to; None: validation if the run held one out, else test.
        label: number or name of the class of the images, for a conditional model; None: the class in the data.
    """

    needs = "a model that completes images"

    def __init__(
        self,
        mask: str = "bottom",
        image: int | str | Sequence[int] | None = None,
        completions: Positive = 6,
        split: str | None = None,
        label: int | str | None = None,
    ) -> None:
        self.mask, self.image, self.completions = mask, image, completions
        self.split, self.label = split, label

    def check_number(self, n: int, data: RunData) -> None:
        raise UsageError(
            f"n={n}: completions are of the images that view.image names; view.completions={n} is per image"
        )

    def amount(self, n: int) -> tuple[str, int]:
        images = SHOWN if self.image is None else 1 if isinstance(self.image, int | str) else len(self.image)
        return f"view.completions={self.completions}", images * self.completions

    @classmethod
    def suits(cls, model: Model) -> bool:
        return isinstance(model, Explicit) and model.completes and not model.spec.points

    def draw(self, model: Model, data: RunData, *, n: int, seed: int, batch_size: int) -> dict[str, Picture]:
        return {"": self.picture(self.complete(model, data, seed=seed, batch_size=batch_size))}

    def complete(self, model: Model, data: RunData, *, seed: int, batch_size: int) -> Completed:
        """Prepare images and mask; the completions are drawn when they are read.

        Raises:
            UsageError: the mask, image, split or class does not exist, or an image has another size.
        """
        assert isinstance(model, Explicit)
        mask = missing_part(self.mask, model.spec).to(model.device)
        names, image, label = self._images(model, data)
        done = completions(model, image, mask, self.completions, seed=seed, label=label, batch_size=batch_size)
        return Completed(names, image, mask, label, self.completions, done)

    @staticmethod
    def picture(found: Completed) -> Picture:
        """Return the picture of completions; they are named after their images."""
        labels = None if found.label is None else found.label.repeat_interleave(found.n).cpu()
        names = [f"{name}-{i:02d}" for name in found.names for i in range(found.n)]
        shown = min(found.n, max(1, base.SHOWN // len(found.image)))  # of each image
        first: list[Tensor] = []

        def passing() -> Iterator[Tensor]:
            at = 0
            for done in found.done:
                batch = quantise(done).cpu()
                first.append(batch[torch.arange(at, at + len(batch)) % found.n < shown])
                at += len(batch)
                yield batch

        def image() -> np.ndarray:
            for _ in raw:  # what was not written
                pass
            return panel(found.image, found.mask, torch.cat(first).unflatten(0, (-1, shown)))

        raw = passing()
        return Picture(image, Batches(raw, len(names), tuple(found.image.shape[1:])), labels, names)

    def _images(self, model: Explicit, data: RunData) -> tuple[list[str], Tensor, Tensor | None]:
        """Return names, images (N, C, H, W) in [-1, 1] and labels, from a file or by number from the run's data."""
        names, pixels, labels = self._from_file(model.spec) if isinstance(self.image, str) else self._from_data(data)
        label = None
        if model.conditional:
            classes = model.spec.num_classes
            if self.label is not None:
                labels = np.full(len(pixels), data.class_number(self.label))
            if labels is None or not (0 <= labels.min() <= labels.max() < classes):
                raise UsageError(f"label={self.label}: the model completes images of a class, 0 to {classes - 1}")
            label = torch.as_tensor(labels, dtype=torch.int64, device=model.device)
        image = scaled(torch.from_numpy(pixels).to(model.device))
        likelihood = getattr(model, "likelihood", None)
        return names, image if likelihood is None else likelihood.snap(image), label

    def _from_file(self, spec: ImageSpec) -> tuple[list[str], np.ndarray, None]:
        pixels = read_picture(str(self.image), spec.channels, "image")
        if pixels.shape != spec.shape:
            have, want = ("x".join(map(str, each)) for each in (pixels.shape, spec.shape))
            raise UsageError(f"image={self.image} is {have}, but the model's images are {want}: save it in that size")
        return [short(Path(str(self.image)).stem)], pixels[None], None

    def _from_data(self, data: RunData) -> tuple[list[str], np.ndarray, np.ndarray | None]:
        split = self.split or data.held_out
        images = binarized(data.split(split))
        given: Any = range(min(SHOWN, len(images))) if self.image is None else self.image
        rows: list[int] = [given] if isinstance(given, int) else list(given)
        if not rows or not all(isinstance(row, int) and 0 <= row < len(images) for row in rows):
            raise UsageError(f"image={self.image}: {split} has images 0 to {len(images) - 1}; or name an image file")
        labels = None if images.labels is None else images.labels[rows]
        if len(set(rows)) < len(rows):
            raise UsageError(f"image={self.image}: an image is named twice; more completions of it are a larger count")
        return [f"{split}-{row:06d}" for row in rows], images.pixels[rows], labels


def missing_part(mask: str, spec: ImageSpec) -> Tensor:
    """Return which pixels are missing, (H, W) bool: a part named in HALVES, or the white pixels of an image file.

    Raises:
        UsageError: the mask is neither, or the file has another size or no white pixels.
    """
    found = torch.zeros(spec.height, spec.width, dtype=torch.bool)
    if mask in HALVES:
        (top, bottom), (left, right) = HALVES[mask]
        rows = slice(round(top * spec.height), round(bottom * spec.height))
        found[rows, round(left * spec.width) : round(right * spec.width)] = True
        return found
    if not os.path.lexists(os.path.expanduser(mask)):
        words = ", ".join(HALVES)
        raise UsageError(
            f"mask={mask}: allowed are {words}, or an image file, white where missing{did_you_mean(mask, HALVES)}"
        )
    found = torch.from_numpy(read_picture(mask, 1, "mask")[0] >= 128)
    if found.shape != (spec.height, spec.width):
        have, want = ("x".join(map(str, each)) for each in (found.shape, (spec.height, spec.width)))
        raise UsageError(f"mask={mask} has {have} pixels, but the model's images {want}: save it in that size")
    if not found.any():
        raise UsageError(f"mask={mask}: nothing is white, so nothing is missing")
    return found


@torch.no_grad()
def completions(
    model: Explicit,
    image: Tensor,
    mask: Tensor,
    n: int,
    *,
    seed: int,
    label: Tensor | None = None,
    batch_size: int = 64,
) -> Iterator[Tensor]:
    """Draw n completions of each image (N, C, H, W) one after the other, as batches (b, C, H, W) in [-1, 1]."""
    generator = Generator(model.device).manual_seed(seed)
    for at in range(0, len(image) * n, batch_size):
        part = torch.arange(at, min(at + batch_size, len(image) * n), device=image.device) // n
        labels = None if label is None else label[part]
        yield model.complete(image[part], mask, label=labels, generator=generator)


def panel(image: Tensor, mask: Tensor, done: Tensor) -> np.ndarray:
    """Make a picture with a row per image: the image, the image with its missing part grey, and the completions.

    Args:
        image: (N, C, H, W) in [-1, 1].
        mask: (H, W) bool, true where a pixel is missing.
        done: completions (N, n, C, H, W) uint8 on the CPU.
    """
    before = quantise(torch.stack([image, torch.where(mask, GREY, image)], 1)).cpu()
    rows = torch.cat([before, done], 1)
    return make_grid(rows.flatten(0, 1), rows.shape[1])


def read_picture(path: str, channels: int, key: str) -> np.ndarray:
    """Read one picture file, (C, H, W) uint8, which was named with ``key``. Raises UsageError."""
    depth = Depth()
    try:
        with quiet(), untrusted.picture_file(path) as picture:
            array = to_array(depth.flatten(picture, channels))
    except Unreadable as error:
        also = "a number" if key == "image" else ", ".join(HALVES)
        raise UsageError(f"{key}={path} cannot be read as a picture: {error}; {key}= takes a file or {also}") from None
    if text := depth_warning(*depth.counted()):
        log.warning("%s=%s: %s", key, path, text)
    return array
