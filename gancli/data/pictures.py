"""Read generated images of any origin for evaluation, from a folder, a zip or an npz; points from an npz or a csv."""

import io
import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from gancli.data import untrusted
from gancli.data.files import Asked, Files
from gancli.data.folder import FolderImages
from gancli.data.layout import Layout
from gancli.data.pixels import fit
from gancli.data.source import SPLITS, Images, fingerprint, folder, permutation
from gancli.data.spec import ImageSpec
from gancli.data.untrusted import Unreadable
from gancli.errors import UsageError

logger = logging.getLogger("gancli")
GRID = "grid.png"  # the overview that gancli sample writes beside its images


class Pictures(FolderImages):
    """All images of a folder or zip, of whatever split, without the grid that ``gancli sample`` writes."""

    asked = Asked(
        "images", "scores compare pictures of one size: resize them first", "repair or remove them", "", "", False
    )

    def _layout(self, files: Files) -> Layout:
        found = super()._layout(files)
        named = [each for split in SPLITS for each in found.parts.get(split, ()) if each[1] != GRID]
        return found._replace(parts={"train": named}, note=f"{found.note}; all of them are scored")

    def notes(self) -> list[str]:
        return self._notes


def read(path: str, like: Images) -> Images:
    """Read the images of a folder, a zip or an npz at their native size, with the channels of ``like``.

    An npz holds ``images`` (written by ``gancli sample format=npz``) or ``arr_0``, (N, H, W, C) or (N, H, W) uint8, and
    optionally ``labels`` or ``arr_1``, (N,) integers. Class folders are converted to labels.

    Points are the rows of a csv, or the array ``points`` of an npz, (N, D).

    Whatever the source, the images are in a random order, always the same, so that the first n and every part of them
    are a random sample: files are often sorted by class.

    Args:
        path: the folder or file.
        like: the data that the images are compared with.

    Raises:
        UsageError: the path does not exist or cannot be read, the images differ in size, or they are not uint8.
    """
    file = folder(path)
    if like.spec.points:
        points = _points(file, like.spec.channels)
        return replace(like, pixels=points, labels=None, name=file.stem, fingerprint=fingerprint(points, None))
    if file.suffix.lower() == ".npz" and not os.path.isdir(file):
        pixels, labels = _npz(file, like.spec.num_classes)
        pixels = fit(pixels, None, like.spec.channels)
        channels, height, width = pixels.shape[1:]
        spec = ImageSpec(channels, height, width, 0 if labels is None else like.spec.num_classes)
        return Images(pixels, labels, spec, file.stem, "all", fingerprint(pixels, labels), like.class_names)
    if not os.path.lexists(file):
        raise UsageError(f"images={path}: no such folder or file; name a folder, a zip or an npz of pictures")
    pictures = Pictures(str(file), channels=like.spec.channels, test=0, validation=0)
    images = pictures.split("train")
    for line in pictures.notes():
        logger.info("images=%s: %s", path, line)
    return images


def _points(file: Path, dim: int) -> np.ndarray:
    """Read points, (N, D, 1, 1) float32, in the order of ``read``."""
    try:
        if file.suffix.lower() == ".npz":
            (points,) = untrusted.npz(file, ["points"])
            if points is None:
                raise Unreadable("it holds no points")
        else:
            with untrusted.regular(file) as binary, io.TextIOWrapper(binary, encoding="utf-8") as text:
                untrusted.check_size(os.fstat(binary.fileno()).st_size, "its text takes")
                # Given a path, NumPy would unpack what ends in .gz.
                with untrusted.refusing():
                    points = np.loadtxt(text, np.float32, delimiter=",", ndmin=2)
    except Unreadable as error:
        raise UsageError(f"images={file} cannot be read: {error}; it must be a csv, or an npz with points") from None
    right = points.ndim == 2 and points.shape[1] == dim and points.dtype.kind in "fiu"
    if not right or not len(points) or not np.isfinite(points).all():
        raise UsageError(f"images={file} holds {points.dtype} {points.shape}; allowed are finite points (N, {dim})")
    return points.astype(np.float32)[permutation(len(points), 0)][..., None, None]


def labels_of(images: Images, like: Images) -> np.ndarray | None:
    """Return the labels, (N,) int64, if both data sets have the same class names, otherwise None."""
    return images.labels if images.labels is not None and images.class_names == like.class_names else None


def _npz(file: Path, classes: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Read images, (N, C, H, W) uint8, and labels, (N,) int64 or None, in the order of ``read``."""
    try:
        pixels, labels = untrusted.npz(file, ["images", "arr_0"], ["labels", "arr_1"])
        if pixels is None:
            raise Unreadable("it holds neither")
    except Unreadable as error:
        raise UsageError(f"images={file} cannot be read: {error}; it must hold images or arr_0, uint8 NHWC") from None
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or (pixels.ndim == 4 and pixels.shape[3] not in (1, 3)):
        raise UsageError(f"images={file} holds {pixels.dtype} {pixels.shape}; allowed is uint8 (N, H, W, 1 or 3)")
    if not pixels.size:
        raise UsageError(f"images={file} holds no image: its shape is {pixels.shape}")
    order = permutation(len(pixels), 0)
    pixels = pixels[..., None] if pixels.ndim == 3 else pixels
    shuffled = np.empty((len(pixels), pixels.shape[3], *pixels.shape[1:3]), np.uint8)
    for i, row in enumerate(order):  # one by one: only one copy is ever there
        shuffled[i] = pixels[row].transpose(2, 0, 1)
    if labels is None or not classes:
        return shuffled, None
    return shuffled, _labels(labels, len(pixels), classes, file)[order]


def _labels(labels: np.ndarray, n: int, classes: int, file: Path) -> np.ndarray:
    """Return the labels of n images as int64, (n,), if each is the number of a class. Raises UsageError."""
    if labels.shape != (n,):
        raise UsageError(f"images={file} has {n} images and labels of shape {labels.shape}; one per image")
    whole = labels.dtype.kind in "iu" or (labels.dtype.kind == "f" and bool((labels == np.floor(labels)).all()))
    if not whole:
        raise UsageError(f"images={file}: its labels ({labels.dtype}) are no whole numbers; save 0 to {classes - 1}")
    if not (labels.min() >= 0 and labels.max() < classes):
        low, high = labels.min(), labels.max()
        raise UsageError(
            f"images={file}: its labels lie between {low:g} and {high:g}, and the data have the classes 0 to "
            f"{classes - 1}; leave labels out, or take the data they belong to"
        )
    return labels.astype(np.int64)
