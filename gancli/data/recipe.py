"""How one image file becomes an array, and what files and arrays are known by in the cache."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from gancli.data.facts import Fact, fact
from gancli.data.files import Entry
from gancli.data.pixels import Depth, halved, is_grey, resize, to_array
from gancli.data.spec import sides
from gancli.data.untrusted import Unreadable

_FORMAT = 1  # increased whenever the same files would decode to different pixels


class Otherwise(Exception):
    """A picture contradicts the shape that was taken from another one."""


@dataclass(frozen=True)
class Recipe:
    """How files are converted to arrays; part of the cache key."""

    size: int | None = None
    channels: int | None = None
    crop: str | int = "center"
    skip: bool = False  # skip unreadable files instead of raising an error
    bit_depth: int | None = None  # bits that pictures of 16 bits per channel use; None: all
    half: int | None = None  # 0 or 1: keep the left or the right half of each picture, before any other step

    def facts(self) -> dict[str, object]:
        """Return the fields without a bit depth that is not set, which files cached by earlier releases do not have."""
        return {key: value for key, value in vars(self).items() if key != "bit_depth" or value is not None}

    def pixels(
        self, entry: Entry, shape: tuple[int, int, int], deep: Depth, *, guessed: bool = False, looked: bool = True
    ) -> tuple[np.ndarray, Fact | None]:
        """Decode, crop and resize a file to an array, (C, H, W) uint8, of this shape.

        Args:
            entry: the file.
            shape: that the array must have.
            deep: flattens pictures, and keeps in mind how deep they are.
            guessed: the shape is that of another file.
            looked: also return what is worth knowing of the file.

        Raises:
            Unreadable: it cannot be read, or has another shape.
            Otherwise: the shape is guessed, and this picture has another, or colours where that one was grey.
        """
        with entry.picture() as image:
            if guessed and not self.channels and shape[0] == 1 and not is_grey(image):
                raise Otherwise
            flat = deep.flatten(image, shape[0])
            array = to_array(resize(halved(flat, self.half), self.size, self.crop))
            known = fact(image, array) if looked else None
        if array.shape != shape:
            if guessed:
                raise Otherwise
            raise Unreadable(f"its pixels are {sides(*array.shape[1:])}, not {sides(*shape[1:])}")
        return array, known


def cache_key(entries: Iterable[Entry], recipe: Recipe, counts: dict[str, int], seed: int) -> str:
    """Return the SHA-256 of the preprocessing and of the files' names, sizes and stamps, in stored order."""
    digest = hashlib.sha256(json.dumps([_FORMAT, recipe.facts(), counts, seed], sort_keys=True).encode())
    for entry in entries:
        digest.update(f"{entry.name}\0{entry.size}\0{entry.stamp}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
