"""Pixels that are decoded whenever they are asked for: nothing but the list of files is in memory."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gancli.data.entries import Entries
from gancli.data.files import Entry
from gancli.data.pixels import Depth, parallel, threads
from gancli.data.recipe import Recipe, cache_key
from gancli.data.untrusted import Unreadable
from gancli.errors import UsageError
from gancli.files import shown

Change = Callable[[np.ndarray], np.ndarray]  # (C, H, W) uint8 -> the same

_FEW = 64  # images that are decoded on the asking thread
_TRIED = 32  # neighbours of a file that cannot be read
logger = logging.getLogger("gancli")


class AtAccess:
    """Stands for the (N, C, H, W) uint8 array of the pixels of image files, which is never there as a whole.

    What is indexed, or taken by ``np.take``, is decoded at that moment, in the threads that ask: those of the loader
    read ahead. ``np.array`` decodes all. `part` chooses images without decoding them.

    A file that turns out to be damaged raises UsageError; with ``on_error=skip`` the next one that can be read stands
    in for it, which is logged once for each file: the number and the order of the images stay what they are.
    """

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(
        self,
        entries: Entries,
        recipe: Recipe,
        shape: tuple[int, int, int],
        root: Path,
        change: Change | None = None,
        words: str = "",
    ) -> None:
        self.entries, self.recipe, self.decoded, self.root = entries, recipe, shape, root
        self.change, self.words = change, words
        self._image_shape = shape if change is None else change(np.zeros(shape, np.uint8)).shape
        self._told: set[str] = set()
        Image.init()  # loads all plugins: loading them lazily is not thread-safe

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self), *self._image_shape

    @property
    def nbytes(self) -> int:
        """Bytes of the array that it stands for."""
        return int(np.prod(self.shape))

    def __getitem__(self, index: Any) -> np.ndarray:
        """Return decoded images as a NumPy array does; of several indices the first chooses what is decoded."""
        first, *rest = index if isinstance(index, tuple) else (index,)
        if isinstance(first, int | np.integer):
            if not -len(self) <= first < len(self):
                raise IndexError(f"image {first} of {len(self)}")
            image = self._image(int(first) % len(self))
            return image[tuple(rest)] if rest else image
        images = self.take(np.arange(len(self))[first])
        return images[(slice(None), *rest)] if rest else images

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.take(np.arange(len(self))).astype(dtype or self.dtype, copy=False)

    def take(self, rows: Any, axis: int = 0, out: np.ndarray | None = None, mode: str = "raise") -> np.ndarray:
        """Return or fill in the images at positions, (M,) int64 -> (M, C, H, W) uint8; ``np.take`` calls it."""
        rows = np.asarray(rows, np.int64)
        found = np.empty((len(rows), *self._image_shape), np.uint8) if out is None else out
        workers = threads(self.entries.mean_bytes()) if len(rows) > _FEW else 1
        for i, image in enumerate(parallel(self._image, rows.tolist(), workers)):
            found[i] = image
        return found

    def part(self, rows: np.ndarray | slice) -> "AtAccess":
        """Return the images at positions, of a slice, or where a mask, (N,) bool, is true; nothing is decoded."""
        rows = np.arange(len(self))[rows]
        return AtAccess(self.entries.take(rows), self.recipe, self.decoded, self.root, self.change, self.words)

    def changed(self, change: Change, words: str) -> "AtAccess":
        """Return images to which a function, named by words, is applied after decoding; it may change their shape."""
        before = self.change
        both = change if before is None else lambda image: change(before(image))
        return AtAccess(self.entries, self.recipe, self.decoded, self.root, both, f"{self.words}|{words}")

    def digest(self) -> bytes:
        """Return a SHA-256 of the names, sizes and stamps of the files, and of what is done to them."""
        return bytes.fromhex(cache_key(self.entries, self.recipe, {self.words: len(self)}, 0))

    def _image(self, row: int) -> np.ndarray:
        """Decode one image. Raises UsageError."""
        for step in range(min(_TRIED, len(self)) if self.recipe.skip else 1):
            entry = self.entries[(row + step) % len(self)]
            try:
                image, _ = self.recipe.pixels(entry, self.decoded, Depth(self.recipe.bit_depth), looked=False)
            except Unreadable as error:
                self._refuse(entry, error)
            else:
                return image if self.change is None else self.change(image)
        raise UsageError(f"{self.root}: {_TRIED} images in a row cannot be read; repair or remove them")

    def _refuse(self, entry: Entry, error: Unreadable) -> None:
        if not self.recipe.skip:
            raise UsageError(
                f"{self.root}: {shown(entry.name)} cannot be read ({error}); {entry.files.asked.broken}"
            ) from None
        if entry.name not in self._told:
            self._told.add(entry.name)
            logger.warning(
                "%s: %s cannot be read (%s): the next image stands in for it", self.root, shown(entry.name), error
            )


def part_of(pixels: Any, rows: Any) -> Any:
    """Return some of the images of an array or of an AtAccess, which decodes nothing for it."""
    return pixels.part(rows) if isinstance(pixels, AtAccess) else pixels[rows]
