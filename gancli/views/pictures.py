"""Writes the pictures of a view to files: each as a PNG, and its images as files, as one array, or not at all."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import torch
from torch import Tensor

from gancli.data.pixels import parallel
from gancli.data.spec import ImageSpec
from gancli.errors import UsageError, sized
from gancli.files import all_inside, inside, replacing
from gancli.views.base import SHOWN, SHOWN_POINTS, Batches, Picture
from gancli.views.grids import png, save_png, to_pil

BLOCK = 4096  # bytes that a small file takes on most disks
POINT = 4  # bytes of a coordinate
WRITERS = 4  # threads that write PNGs


def write(out: Path, pictures: Mapping[str, Picture], kind: str) -> int:
    """Write pictures into a folder and return how many images or points they show.

    Every picture becomes ``grid.png``, or ``grid-<name>.png``. Depending on ``kind``, its images or points become

    - png: numbered files, or files with their own names; points are rows of ``points.csv``,
    - npz: ``images.npz`` with ``images`` (N, H, W, C) uint8 and ``labels`` (N,) int64 if there are any, or
      ``points.npz`` with ``points`` (N, D) float32,
    - grid: nothing.

    Images that are read one by one are always written as png: see check_format().
    """
    return sum(_write(out, name, picture, kind) for name, picture in pictures.items())


def _write(out: Path, name: str, picture: Picture, kind: str) -> int:
    """Write one picture, after its images or points, and return how many of them there are."""
    count = _write_raw(out, name, picture, kind)
    if (image := picture.shown()) is not None:
        save_png(inside(out, f"{_named('grid', name)}.png"), image)
    return count


def _write_raw(out: Path, name: str, picture: Picture, kind: str) -> int:
    """Write the images or points of a picture, and return how many there are."""
    raw = picture.raw
    if raw is None:
        return 0
    if isinstance(raw, Tensor):
        raw = Batches(iter([raw]), len(raw), tuple(raw.shape[1:]))
    if not isinstance(raw, Batches):
        return _write_images(out, name, raw, picture.names)
    points = len(raw.shape) == 1
    if kind == "npz":
        labels = {} if picture.labels is None or points else {"labels": picture.labels.numpy()}
        stem = "points" if points else "images"
        _write_npz(out / f"{_named(stem, name)}.npz", stem, raw, labels)
    elif kind == "png" and points:
        _write_points(out / f"{_named('points', name)}.csv", raw)
    elif kind == "png":
        _write_images(out, name, (image for batch in raw.each for image in batch), picture.names)
    return raw.n


def check_amount(out: Path, key: str, n: int, spec: ImageSpec, kind: str) -> None:
    """Refuse a number of images that a format or the disk cannot hold, before the first one is drawn.

    Args:
        out: the folder that they will be written into, which may not exist yet.
        key: what was asked for, such as ``n=64``.
        n: number of images or points that this means; 0: few.
        spec: their shape.
        kind: png, npz or grid.

    Raises:
        UsageError: a grid cannot show that many, or so many bytes are not free.
    """
    if kind == "grid":
        most = SHOWN_POINTS if spec.points else SHOWN
        if n > most:
            raise UsageError(f"{key}: a picture shows at most {most:,} of them; use fewer, or format=npz for all")
        return
    values = spec.channels * spec.height * spec.width
    each = values * (POINT if spec.points else 1) if kind == "npz" or spec.points else max(values, BLOCK)
    there = next(parent for parent in (out.absolute(), *out.absolute().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if n * each > free:
        raise UsageError(
            f"{key}: {kind} files of so many take up to {sized(n * each)}, but {sized(free)} are free in {there}; "
            f"use a smaller {key.partition('=')[0]}, or another disk with out=..."
        )


def check_format(pictures: Mapping[str, Picture], kind: str) -> None:
    """Refuse a format that does not suit the pictures.

    Raises:
        UsageError: the images have different sizes.
    """
    if kind != "png" and any(picture.image is None for picture in pictures.values()):
        raise UsageError(f"format={kind}: images of a folder keep their own sizes and names; use format=png")


def check_names(out: Path, pictures: Mapping[str, Picture]) -> None:
    """Refuse pictures whose names, which may come from a stranger's zip, cannot all be files below a folder.

    Raises:
        UsageError: see files.all_inside().
    """
    names = [_file(name, each) for name, picture in pictures.items() for each in picture.names]
    all_inside(out, [*names, *(f"{_named('grid', n)}.png" for n, each in pictures.items() if each.image is not None)])


def _file(name: str, stem: str) -> str:
    return f"{name}-{stem}.png" if name else f"{stem}.png"


def _named(stem: str, name: str) -> str:
    return f"{stem}-{name}" if name else stem


def _write_images(out: Path, name: str, images: Iterable[Any], names: Sequence[str]) -> int:
    """Write one PNG per image; threads wait for the disk, which takes most of the time, while the next are drawn."""
    encoded = (
        (inside(out, _file(name, names[i] if names else f"{i:06d}")), png(to_pil(torch.as_tensor(image))))
        for i, image in enumerate(images)
    )
    return sum(1 for _ in parallel(lambda file: save_png(*file), encoded, WRITERS, chunk=8))


def _write_points(path: Path, raw: Batches) -> None:
    """Write a line per point, a batch at a time."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for batch in raw.each:
            np.savetxt(file, batch.numpy(), "%.9g", ",")


def _write_npz(path: Path, name: str, raw: Batches, others: Mapping[str, np.ndarray]) -> None:
    """Write what numpy.savez_compressed would write of all batches together, a batch at a time.

    Images become (N, H, W, C) uint8 and points (N, D) float32.
    """
    points = name == "points"
    shape = raw.shape if points else (*raw.shape[1:], raw.shape[0])
    header = {"descr": "<f4" if points else "|u1", "fortran_order": False, "shape": (raw.n, *shape)}
    with replacing(path) as temporary, ZipFile(temporary, "w", ZIP_DEFLATED) as archive:
        with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(member, header)
            for batch in raw.each:
                rows = batch if points else batch.permute(0, 2, 3, 1)
                member.write(rows.contiguous().numpy().tobytes())
        for key, array in others.items():
            with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array)
