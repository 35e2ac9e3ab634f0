"""Real images of a run's data as a model sees them, for views that encode them."""

from collections.abc import Iterator, Sequence
from itertools import repeat

import numpy as np
import torch
from torch import Tensor

from gancli.data.levels import binarized
from gancli.data.spec import scaled
from gancli.errors import UsageError, counted
from gancli.models.base import Model
from gancli.models.encoding import takes_class
from gancli.views.base import RunData


def check_there(n: int, data: RunData, split: str | None) -> None:
    """Refuse more images than a split has; None: the one whose images views show. Raises UsageError."""
    images = data.split(split or data.held_out)
    if n > len(images):
        raise UsageError(
            f"n={n}: {images.name} {images.split} has {counted(len(images), 'image')}; use n={len(images)} or fewer"
        )


def real_images(
    model: Model, data: RunData, rows: Sequence[int], split: str | None = None, label: int | str | None = None
) -> tuple[Tensor, Tensor | None]:
    """Return images (N, C, H, W) in [-1, 1] on the model's device, and their classes (N,) if it is conditional.

    Args:
        model: the model.
        data: the data of its run.
        rows: numbers of images in the split.
        split: train, validation or test; None: the one whose images views show.
        label: number or name of the class of all images; None: the class in the data.

    Raises:
        UsageError: no such split, images or class.
    """
    name = split or data.held_out
    images = binarized(data.split(name))
    if not rows or not all(type(row) is int and 0 <= row < len(images) for row in rows):
        raise UsageError(f"images {', '.join(map(str, rows))}: {name} has images 0 to {len(images) - 1}")
    pixels = scaled(torch.from_numpy(np.ascontiguousarray(images.pixels[list(rows)])).to(model.device))
    given = data.class_number(label)
    if given is None and images.labels is not None:
        return pixels, as_labels(model, images.labels[list(rows)])
    return pixels, as_labels(model, np.full(len(rows), -1 if given is None else given))


def parts(size: int, z: Tensor, label: Tensor | None) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield images or codes (N, ...) and their classes (N,), or None, in parts of at most ``size``."""
    return zip(z.split(size), repeat(None) if label is None else label.split(size))


def as_labels(model: Model, labels: np.ndarray) -> Tensor | None:
    """Return classes (N,) int64 on the model's device, None if its encoder takes none. Raises UsageError."""
    if not takes_class(model):
        return None
    classes = model.spec.num_classes
    if not 0 <= labels.min() <= labels.max() < classes:
        raise UsageError(f"label={labels.max()}: the model encodes images of a class: add label=, 0 to {classes - 1}")
    return torch.as_tensor(labels, dtype=torch.int64, device=model.device)
