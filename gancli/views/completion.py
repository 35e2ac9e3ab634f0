"""Completions of images with a part missing."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Generator, Tensor

from gancli.data.pixels import flatten, to_array
from gancli.data.spec import ImageSpec, quantise
from gancli.errors import UsageError, did_you_mean
from gancli.models.base import Model
from gancli.models.explicit import Explicit
from gancli.views.grids import make_grid

HALVES = {  # the missing part: rows and columns as shares of the image
    "bottom": ((1 / 2, 1), (0, 1)),
    "top": ((0, 1 / 2), (0, 1)),
    "left": ((0, 1), (0, 1 / 2)),
    "right": ((0, 1), (1 / 2, 1)),
    "center": ((1 / 4, 3 / 4), (1 / 4, 3 / 4)),
}
GREY = 0.0  # of missing pixels in a grid, on [-1, 1]


def missing_part(mask: str, spec: ImageSpec) -> Tensor:
    """Return which pixels are missing, (H, W) bool: a word of HALVES, or what is white in a picture.

    Raises:
        UsageError: neither, or a picture of another size or without white.
    """
    found = torch.zeros(spec.height, spec.width, dtype=torch.bool)
    if mask in HALVES:
        (top, bottom), (left, right) = HALVES[mask]
        rows = slice(round(top * spec.height), round(bottom * spec.height))
        found[rows, round(left * spec.width) : round(right * spec.width)] = True
        return found
    if not Path(mask).expanduser().is_file():
        words = ", ".join(HALVES)
        raise UsageError(
            f"mask={mask}: allowed are {words}, and a picture, white where missing{did_you_mean(mask, HALVES)}"
        )
    found = torch.from_numpy(read_picture(mask, 1)[0] >= 128)
    if found.shape != (spec.height, spec.width):
        have, want = ("x".join(map(str, each)) for each in (found.shape, (spec.height, spec.width)))
        raise UsageError(f"mask={mask} has {have} pixels and the model's images {want}; save it in that size")
    if not found.any():
        raise UsageError(f"mask={mask}: nothing is white, so nothing is missing")
    return found


def can_complete(model: Model) -> bool:
    """Tell whether a model can complete images."""
    return isinstance(model, Explicit) and model.completes and not model.spec.points


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
) -> Tensor:
    """Draw n completions of each image, (N, C, H, W) -> (N, n, C, H, W) in [-1, 1]."""
    generator = Generator(model.device).manual_seed(seed)
    images, labels = image.repeat_interleave(n, 0), None if label is None else label.repeat_interleave(n)
    parts = [
        model.complete(
            images[i : i + batch_size], mask, label=None if labels is None else labels[i : i + batch_size],
            generator=generator,
        )
        for i in range(0, len(images), batch_size)
    ]  # fmt: skip
    return torch.cat(parts).unflatten(0, (-1, n))


def panel(image: Tensor, mask: Tensor, done: Tensor) -> np.ndarray:
    """Make a picture of a row per image: as it is, with its missing part grey, and the completions."""
    holes = torch.where(mask, GREY, image)
    rows = torch.cat([image[:, None], holes[:, None], done], 1)
    return make_grid(quantise(rows.flatten(0, 1)), rows.shape[1])


def read_picture(path: str, channels: int) -> np.ndarray:
    try:
        with Image.open(Path(path).expanduser()) as picture:
            return to_array(flatten(picture, channels))
    except (OSError, ValueError, UnidentifiedImageError) as error:
        raise UsageError(f"{path} cannot be read as a picture ({error}); image= takes a file or a number") from None
