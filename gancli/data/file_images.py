"""What data sets made of image files have in common, wherever the files lie: folders, zips, tar shards, tables."""

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np

from gancli.data import listed
from gancli.data.entries import Entries, joined
from gancli.data.files import Entry, Reader
from gancli.data.keys import typed
from gancli.data.pixels import check_crop
from gancli.data.recipe import Recipe
from gancli.data.source import Images, Source, amount
from gancli.data.splits import Held, Part, When, divide
from gancli.errors import UsageError, did_you_mean
from gancli.ranges import Bits

logger = logging.getLogger("gancli")
_ON_ERROR = ("refuse", "skip")


class Found(NamedTuple):
    """The files of every split, the names of their classes, and lines for the log."""

    parts: Mapping[str, Part]
    classes: tuple[str, ...]
    notes: Sequence[str]


class FileImages(Source):
    """Images of files, decoded once into a cache under $GANCLI_CACHE, or whenever they are used.

    - `size`: height and width after resizing; None: keep the native size, which must be the same for all images.
    - `channels`: 1 or 3; None: 1 if all files are grey, else 3. See `pixels.flatten` for modes and transparency.
    - `crop`: what is resized: the largest centred square ("center"), the whole picture ("none"), or a centred square
      of that many pixels.
    - `test`, `validation`: fraction or number of training images to hold out, unless there are files for it.
    - `seed`: seed of the held-out images.
    - `on_error`: "refuse" (raise an error) or "skip" files that cannot be read, including decompression bombs. Files
      that are decoded when they are used cannot be left out beforehand: the next one stands in.
    - `bit_depth`: bits that pictures of 16 bits per channel use, such as 12; None: all of them.
    - `stratify`: hold out as many images of each class as its share, and leave each some to train on. False, which runs
      of earlier releases were trained with: hold out any.
    - `decode`: "once", into a cache of pixels; at every "access", in the threads that read ahead, with nothing in
      memory but the list of files; or "auto": once if the pixels take at most half of what is free where the cache is.

    What was listed and held out is kept (`data.listed`), so that a million files begin in seconds the second time.
    """

    def __init__(
        self,
        name: str,
        root: Path,
        size: int | None = None,
        channels: int | None = None,
        crop: str | int = "center",
        test: int | float = 0.1,
        validation: int | float = 0.05,
        seed: int = 0,
        on_error: str = "refuse",
        stratify: bool = False,
        bit_depth: Bits | None = None,
        decode: When = "auto",
    ) -> None:
        super().__init__(name, size, channels, validation, seed)
        check_word("on_error", on_error, _ON_ERROR)
        check_word("decode", decode, get_args(When))
        self.root, self.decode = root, decode
        self.held = Held(amount("test", test), self.validation, self.seed, stratify)
        self.recipe = Recipe(self.size, self.channels, check_crop(crop), on_error == "skip", bit_depth)

    @abstractmethod
    def _readers(self) -> Sequence[Reader]:
        """Return what reads the files, without listing them. Raises UsageError."""

    @abstractmethod
    def _find(self, readers: Sequence[Reader]) -> Found:
        """List the files. Raises UsageError."""

    def _depends(self) -> dict[str, Any]:
        """Return what the list depends on besides the files and the common arguments, as plain JSON types."""
        return {}

    def _load(self, split: str) -> dict[str, Images]:
        readers, since = self._readers(), listed.now()
        asked = {
            "kind": type(self).__qualname__, "names": [each.names() for each in readers], "recipe": vars(self.recipe),
            "held": list(self.held), "decode": self.decode, **self._depends(),
        }  # fmt: skip
        known = listed.load(asked, readers)
        pixels = None if known is None else known.pixels(self.recipe, self.root)
        if known is None or pixels is None:
            found = self._find(readers)
            known, pixels = divide(found.parts, found.classes, self.recipe, self.held, self.root, self.decode)
            known = replace(known, notes=(*found.notes, *known.notes))
            entries = joined([each.entries for each in found.parts.values()])
            listed.keep(asked, known, listed.Ground.of(readers, entries), since)
        self._notes = list(known.notes)
        for line in known.warnings:
            logger.warning("%s: %s", self.root, line)
        return known.splits(self.name, pixels)


def part(entries: Sequence[Entry], labels: Sequence[int]) -> Part:
    """Return files with their classes."""
    return Part(Entries.of(entries), np.array(labels, np.int64))


def check_word(key: str, value: object, allowed: Sequence[str]) -> None:
    """Refuse a value that is none of the allowed words. Raises UsageError."""
    if value not in allowed:
        hint = did_you_mean(str(value), allowed)
        raise UsageError(f"{typed(key)}={value!r}: allowed are {', '.join(allowed)}{hint}")
