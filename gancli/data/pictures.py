"""Read generated images of any origin for evaluation, from a folder, a zip or an npz; points from an npz or a csv."""

import logging
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from gancli.data.files import Asked
from gancli.data.folder import FolderImages
from gancli.data.layout import Layout
from gancli.data.pixels import fit
from gancli.data.source import SPLITS, Images, fingerprint
from gancli.data.spec import ImageSpec
from gancli.errors import UsageError

logger = logging.getLogger("gancli")
GRID = "grid.png"  # the overview that gancli sample writes beside its images


class Pictures(FolderImages):
    """All images of a folder or zip, of whatever split, without the grid that ``gancli sample`` writes."""

    asked = Asked("images", "scores compare pictures of one size: resize them first", "repair or remove them")

    def _layout(self) -> Layout:
        found = super()._layout()
        named = [each for split in SPLITS for each in found.parts.get(split, ()) if each[1] != GRID]
        return found._replace(parts={"train": named})


def read(path: str, like: Images) -> Images:
    """Read the images of a folder, a zip or an npz at their native size, with the channels of ``like``.

    An npz holds ``images`` (written by ``gancli sample format=npz``) or ``arr_0``, (N, H, W, C) or (N, H, W) uint8, and
    optionally ``labels`` or ``arr_1``, (N,) integers. Class folders are converted to labels. The images of a folder are
    in a fixed random order, so that the first n are a random sample of them.

    Points are the rows of a csv, or the array ``points`` of an npz, (N, D).

    Args:
        path: the folder or file.
        like: the data that the images are compared with.

    Raises:
        UsageError: the path does not exist or cannot be read, the images differ in size, or they are not uint8.
    """
    file = Path(path).expanduser()
    if like.spec.points:
        points = _points(file, like.spec.channels)
        return replace(like, pixels=points, labels=None, name=file.stem, fingerprint=fingerprint(points, None))
    if file.suffix.lower() == ".npz":
        pixels, labels = _npz(file)
        pixels = fit(pixels, None, like.spec.channels)
        channels, height, width = pixels.shape[1:]
        spec = ImageSpec(channels, height, width, 0 if labels is None else like.spec.num_classes)
        return Images(pixels, labels, spec, file.stem, "all", fingerprint(pixels, labels), like.class_names)
    if not file.exists():
        raise UsageError(f"images={path}: no such folder or file; name a folder, a zip or an npz of pictures")
    pictures = Pictures(str(file), channels=like.spec.channels, test=0, validation=0)
    images = pictures.split("train")
    for line in pictures.notes():
        logger.info("images=%s: %s", path, line)
    return images


def _points(file: Path, dim: int) -> np.ndarray:
    """Read points, (N, D, 1, 1) float32."""
    try:
        if file.suffix.lower() == ".npz":
            with np.load(file, allow_pickle=False) as arrays:
                points = arrays["points"].astype(np.float32)
        else:
            points = np.loadtxt(file, np.float32, delimiter=",", ndmin=2)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"images={file} cannot be read: {error}; it must be a csv, or an npz with points") from None
    if points.ndim != 2 or points.shape[1] != dim or not np.isfinite(points).all():
        raise UsageError(f"images={file} holds {points.shape}; allowed are finite points (N, {dim})")
    return points[..., None, None]


def labels_of(images: Images, like: Images) -> np.ndarray | None:
    """Return the labels, (N,) int64, if both data sets have the same class names, otherwise None."""
    return images.labels if images.labels is not None and images.class_names == like.class_names else None


def _npz(file: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Read images, (N, C, H, W) uint8, and labels, (N,) int64 or None."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            pixels = arrays["images" if "images" in arrays else "arr_0"]
            key = next((key for key in ("labels", "arr_1") if key in arrays), None)
            labels = None if key is None else arrays[key].astype(np.int64)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"images={file} cannot be read: {error}; it must hold images or arr_0, uint8 NHWC") from None
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or (pixels.ndim == 4 and pixels.shape[3] not in (1, 3)):
        raise UsageError(f"images={file} holds {pixels.dtype} {pixels.shape}; allowed is uint8 (N, H, W, 1 or 3)")
    if labels is not None and labels.shape != pixels.shape[:1]:
        raise UsageError(f"images={file} has {len(pixels)} images and labels of shape {labels.shape}; one per image")
    pixels = pixels[..., None] if pixels.ndim == 3 else pixels
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)), labels
