"""Pictures that a user names: by their numbers in a split of the run's data, as a file, or as a folder or zip."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gancli.data import untrusted
from gancli.data.decode import quiet
from gancli.data.files import Asked, Entry, open_files
from gancli.data.levels import binarized
from gancli.data.pictures import GRID
from gancli.data.pixels import Depth, depth_warning, to_array
from gancli.data.source import folder
from gancli.data.spec import ImageSpec, described
from gancli.data.untrusted import Unreadable
from gancli.errors import UsageError
from gancli.files import short, shown
from gancli.models.base import Model
from gancli.models.encoding import takes_class
from gancli.views.base import RunData

log = logging.getLogger("gancli")
FIRST = 8  # images of a split if none are named


class Chosen(NamedTuple):
    """Pictures of a model's size."""

    names: list[str]  # without endings
    pixels: np.ndarray  # (N, C, H, W) uint8
    labels: np.ndarray | None = None  # (N,) int64, from the data


def numbered(data: RunData, split: str | None, given: int | Sequence[int] | None) -> Chosen:
    """Return images of a split by number; None: the first FIRST of them, and the split of real images that views show.

    Raises:
        UsageError: the split or a number does not exist.
    """
    split = split or data.held_out
    images = binarized(data.split(split))
    chosen = range(min(FIRST, len(images))) if given is None else given
    if isinstance(chosen, bool | Mapping) or not isinstance(chosen, int | Sequence):
        raise UsageError(f"image={given}: expected numbers of images, or an image file")
    rows: list[int] = [chosen] if isinstance(chosen, int) else list(chosen)
    if not rows or not all(isinstance(row, int) and 0 <= row < len(images) for row in rows):
        raise UsageError(f"image={given}: {split} has images 0 to {len(images) - 1}; or name an image file")
    if len(set(rows)) < len(rows):
        raise UsageError(f"image={given}: an image is named twice; name each once")
    labels = None if images.labels is None else images.labels[rows]
    return Chosen([f"{split}-{row:06d}" for row in rows], images.pixels[rows], labels)


def from_file(path: str, spec: ImageSpec) -> Chosen:
    """Return one picture of the model's size. Raises UsageError."""
    pixels = read_picture(path, spec.channels, "image")
    _check_size(pixels, spec, f"image={path}")
    return Chosen([short(Path(path).stem)], pixels[None])


def from_folder(path: str, spec: ImageSpec) -> Chosen:
    """Return all pictures of a folder or zip, sorted by name, without the grid that gancli writes beside images.

    Raises:
        UsageError: there is no such folder, there are no pictures in it, or one cannot be read or has another size.
    """
    asked, depth = Asked("images", layout="", depth=""), Depth()
    entries = [each for each in open_files(folder(path), asked).entries() if each.name != GRID]
    if not entries:
        raise UsageError(f"images={path}: no pictures in it")
    found = []
    for entry in entries:
        what = f"images={path}: {shown(entry.name)}"
        try:
            with quiet(), entry.picture() as picture:
                pixels = to_array(depth.flatten(picture, spec.channels))
        except Unreadable as error:
            raise UsageError(f"{what} cannot be read: {error}; repair or remove it") from None
        _check_size(pixels, spec, what)
        found.append(pixels)
    if text := depth_warning(*depth.counted()):
        log.warning("images=%s: %s", path, text)
    return Chosen(file_names(entries), np.stack(found))


def class_labels(model: Model, data: RunData, chosen: Chosen, given: int | str | None) -> Tensor | None:
    """Return the classes of chosen pictures, (N,) int64 on the model's device, or None for an unconditional model.

    Args:
        model: the model that is asked about them.
        data: has the names of the classes.
        chosen: the pictures, with the classes that the data gives them.
        given: number or name of the class of all of them; None: those of the data.

    Raises:
        UsageError: there is no such class, neither names one, or one is given to codes that do not depend on it.
    """
    if not takes_class(model):
        if given is not None:
            raise UsageError(f"label={given}: what {type(model).__name__} sees depends on no class; omit label=")
        return None
    classes = model.spec.num_classes
    labels = chosen.labels
    if given is not None:
        labels = np.full(len(chosen.pixels), data.class_number(given))
    if labels is None or not (0 <= labels.min() <= labels.max() < classes):
        raise UsageError(f"label={given}: the model's images are of a class, 0 to {classes - 1}; name that of these")
    return torch.as_tensor(labels, dtype=torch.int64, device=model.device)


def read_picture(path: str, channels: int, key: str, also: str = "a number") -> np.ndarray:
    """Read one picture file, (C, H, W) uint8.

    Args:
        path: of the file.
        channels: 1 or 3, to which it is converted.
        key: the key that it was named with.
        also: what the key takes besides files.

    Raises:
        UsageError: it cannot be read.
    """
    depth = Depth()
    try:
        with quiet(), untrusted.picture_file(path) as picture:
            array = to_array(depth.flatten(picture, channels))
    except Unreadable as error:
        raise UsageError(f"{key}={path} cannot be read as a picture: {error}; {key}= takes a file or {also}") from None
    if text := depth_warning(*depth.counted()):
        log.warning("%s=%s: %s", key, path, text)
    return array


def file_names(entries: Sequence[Entry]) -> list[str]:
    """Return the names of the results: those of the pictures without their endings, which are kept where a.jpg and
    a.png would become one file, and where a.jpg is another one's name without its ending.
    """
    stems = [str(PurePosixPath(entry.name).with_suffix("")) for entry in entries]
    count = Counter(stems) + Counter(entry.name for entry in entries)
    return [stem if count[stem] == 1 else entry.name for stem, entry in zip(stems, entries)]


def _check_size(pixels: np.ndarray, spec: ImageSpec, what: str) -> None:
    if pixels.shape != spec.shape:
        have, want = described(pixels.shape), described(spec.shape)
        raise UsageError(f"{what} is {have}, but the model's images are {want}: save it in that size")
