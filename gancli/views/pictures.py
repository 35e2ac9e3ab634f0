"""Writes the pictures of a view to files: each as a PNG, and its images as files, as one array, or not at all."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gancli.errors import UsageError
from gancli.files import all_inside, inside, replacing
from gancli.views.base import Picture
from gancli.views.grids import save_png, to_pil


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
    """Write one picture and return how many images or points it shows."""
    if picture.image is not None:
        save_png(inside(out, f"{_named('grid', name)}.png"), picture.image)
    raw = picture.raw
    if raw is None:
        return 0
    if not isinstance(raw, Tensor):
        return _write_images(out, name, picture)
    if raw.dim() == 2:
        _write_points(out, _named("points", name), raw.numpy(), kind)
    elif kind == "npz":
        labels = {} if picture.labels is None else {"labels": picture.labels.numpy()}
        _write_npz(out / f"{_named('images', name)}.npz", images=raw.permute(0, 2, 3, 1).numpy(), **labels)
    elif kind == "png":
        _write_images(out, name, picture)
    return len(raw)


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


def _write_images(out: Path, name: str, picture: Picture) -> int:
    """Write one PNG per image."""
    count = 0
    for i, image in enumerate(() if picture.raw is None else picture.raw):
        stem = picture.names[i] if picture.names else f"{i:06d}"
        save_png(inside(out, _file(name, stem)), to_pil(torch.as_tensor(image)))
        count += 1
    return count


def _write_points(out: Path, stem: str, points: np.ndarray, kind: str) -> None:
    if kind == "npz":
        _write_npz(out / f"{stem}.npz", points=points)
    elif kind == "png":
        with replacing(out / f"{stem}.csv") as temporary:
            np.savetxt(temporary, points, "%.9g", ",")


def _write_npz(path: Path, **arrays: Any) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
