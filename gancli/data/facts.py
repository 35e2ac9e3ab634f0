"""What was seen while pictures were decoded: sizes, transparency, duplicates; in plain words for the log."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from gancli.data.files import Entry
from gancli.data.keys import typed
from gancli.data.pixels import upright_size
from gancli.errors import UsageError, counted
from gancli.files import shown


class Fact(NamedTuple):
    """What is kept of one decoded picture."""

    size: tuple[int, int]  # width and height of the upright file
    transparent: bool  # some pixel was, and was laid on white
    digest: bytes  # of the decoded pixels


def fact(image: Image.Image, array: np.ndarray) -> Fact:
    """Look at an opened file and at the array, (C, H, W) uint8, that it was decoded to."""
    transparent = image.has_transparency_data
    if transparent and "A" in image.getbands():
        low, _ = image.getchannel("A").getextrema()
        transparent = low < 255  # type: ignore[operator]  # an alpha channel is one band: a pair of ints
    data = np.ascontiguousarray(array).data
    return Fact(upright_size(image), bool(transparent), hashlib.blake2b(data, digest_size=8).digest())


class Facts:
    """Facts of all decoded pictures, in the order in which they are stored."""

    def __init__(self) -> None:
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.transparent = self.count = 0
        self.first: dict[bytes, int] = {}
        self.twins: list[tuple[int, int]] = []  # a picture, and the first one with the same pixels

    def add(self, new: Fact) -> None:
        self.sizes[new.size] += 1
        self.transparent += new.transparent
        first = self.first.setdefault(new.digest, self.count)
        if first != self.count:
            self.twins.append((self.count, first))
        self.count += 1

    def meta(self) -> dict[str, Any]:
        """Return the facts in plain JSON types, which are stored beside the pixels."""
        return {"sizes": [[*size, n] for size, n in self.sizes.most_common()],
                "transparent": self.transparent, "twins": self.twins}  # fmt: skip


def told(meta: Mapping[str, Any], size: tuple[int, int], crop: str | int, half: int | None) -> list[str]:
    """Return what was done to the pictures, in words; nothing for what an earlier release has decoded.

    Args:
        meta: as of `Facts.meta`, and ``skipped``.
        size: width and height of the decoded pictures.
        crop: as in `pixels.resize`. half: as in `pixels.halved`.
    """
    if "sizes" not in meta:
        return []
    sizes = {(w, h): n for w, h, n in meta["sizes"]}
    shown = ", ".join(f"{w}x{h} ({n:,})" for (w, h), n in list(sizes.items())[:3])
    more = f" and {len(sizes) - 3:,} other sizes" if len(sizes) > 3 else ""
    square = all(w == h for w, h in sizes) and crop in ("none", "center") and half is None
    way = f"{'resized' if square else cut_words(crop, half)} to {size[0]}x{size[1]}"
    lines = [f"sizes: {shown}{more}, {'as they are' if set(sizes) == {size} else way}"]
    small = sum(n for (w, h), n in sizes.items() if min(w // (1 if half is None else 2), h) < min(size))
    if small:
        lines.append(f"smaller than {size[0]}x{size[1]}, and enlarged: {small:,}")
    if meta["transparent"]:
        lines.append(f"transparent in places, which are white now: {meta['transparent']:,}")
    return lines


def cut_words(crop: str | int, half: int | None) -> str:
    """Return what is done to a picture before it has its size, see `told`."""
    cut = {"none": "squeezed", "center": "cropped to the largest centred square, resized"}.get(
        str(crop), f"cropped to {crop}x{crop} in the centre, resized"
    )
    return cut if half is None else f"the {('left', 'right')[half]} half {cut}"


def duplicates(twins: Sequence[tuple[int, int]], bounds: Mapping[str, tuple[int, int]]) -> list[str]:
    """Return how many pictures have the pixels of another, and how many held-out ones those of a training picture."""
    if not twins:
        return []
    start, stop = bounds["train"]
    groups: dict[int, list[int]] = {}
    for other, first in twins:
        groups.setdefault(first, [first]).append(other)
    trained = lambda i: start <= i < stop  # noqa: E731
    leaked = sum(sum(not trained(i) for i in each) for each in groups.values() if any(map(trained, each)))
    line = f"with the same pixels as another one: {len(twins):,}"
    return [f"{line}; of validation and test, in train as well: {leaked:,}" if leaked else line]


def skipped_words(entries: Sequence[Entry], meta: Mapping[str, Any]) -> str:
    """Return how many files were skipped, and the reasons of the first."""
    first = "; ".join(f"{shown(entries[i].name)}: {why}" for i, why in meta["skipped"][:3])
    return f"skipped {len(meta['skipped'])} of {counted(len(entries), 'image')} that cannot be read ({first})"


def check_classes(labels: np.ndarray, class_names: tuple[str, ...], root: Path) -> None:
    """Refuse classes without a training image; labels, (N,), are those of train. Raises UsageError."""
    counts = np.bincount(labels, minlength=len(class_names))
    if not counts.all():
        name = class_names[int(counts.argmin())]
        raise UsageError(
            f"{root}: class {name!r} has no training image left; hold out less with {typed('test')}= and "
            f"{typed('validation')}=, "
            "or take the class away"
        )
