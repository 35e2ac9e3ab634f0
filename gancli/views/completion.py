"""Images with a missing part, and a model's completions.

gancli sample ckpt=latest view=completion view.mask=top
gancli complete ckpt=latest image=face.png mask=hole.png    # the same with the probability of each completion
"""

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from gancli.data.spec import ImageSpec, quantise, scaled, sides
from gancli.errors import UsageError, did_you_mean
from gancli.models.base import Model
from gancli.models.explicit import Explicit
from gancli.ranges import Positive
from gancli.views import base
from gancli.views.base import Batches, Picture, RunData, View
from gancli.views.chosen import FIRST, class_labels, from_file, numbered, read_picture
from gancli.views.grids import make_grid

HALVES = {  # the missing part: rows and columns as shares of the image
    "bottom": ((1 / 2, 1), (0, 1)),
    "top": ((0, 1 / 2), (0, 1)),
    "left": ((0, 1), (0, 1 / 2)),
    "right": ((0, 1), (1 / 2, 1)),
    "center": ((1 / 4, 3 / 4), (1 / 4, 3 / 4)),
}
GREY = 0.0  # value of missing pixels in a grid, in [-1, 1]


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
        images = FIRST if self.image is None else 1 if isinstance(self.image, int | str) else len(self.image)
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
        given = self.image
        found = from_file(given, model.spec) if isinstance(given, str) else numbered(data, self.split, given)
        label = class_labels(model, data, found, self.label)
        image = scaled(torch.from_numpy(found.pixels).to(model.device))
        likelihood = getattr(model, "likelihood", None)
        return found.names, image if likelihood is None else likelihood.snap(image), label


def missing_part(mask: str, spec: ImageSpec) -> Tensor:
    """Return which pixels are missing, (H, W) bool: a part named in HALVES, or the white pixels of an image file.

    Raises:
        UsageError: the mask is neither, or the file has another size or no white pixels.
    """
    found, words = torch.zeros(spec.height, spec.width, dtype=torch.bool), ", ".join(HALVES)
    if mask in HALVES:
        (top, bottom), (left, right) = HALVES[mask]
        rows = slice(round(top * spec.height), round(bottom * spec.height))
        found[rows, round(left * spec.width) : round(right * spec.width)] = True
        return found
    if not os.path.lexists(os.path.expanduser(mask)):
        raise UsageError(
            f"mask={mask}: allowed are {words}, or an image file, white where missing{did_you_mean(mask, HALVES)}"
        )
    found = torch.from_numpy(read_picture(mask, 1, "mask", words)[0] >= 128)
    if found.shape != (spec.height, spec.width):
        have, want = sides(*found.shape), spec.size
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
