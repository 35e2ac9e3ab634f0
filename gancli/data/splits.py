"""Divide image files into train, validation and test, decoded once or at every access."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from gancli.data import cache
from gancli.data.access import AtAccess, part_of
from gancli.data.decode import NoRoom, decode, warned
from gancli.data.entries import Entries, joined
from gancli.data.facts import check_classes, cut_words, duplicates, skipped_words, told
from gancli.data.headers import quiet, shape_of
from gancli.data.recipe import Recipe, cache_key
from gancli.data.source import SPLITS, Images, held_count, permutation, stratified
from gancli.data.spec import ImageSpec, sides

When = Literal["auto", "once", "access"]
logger = logging.getLogger("gancli")


class Part(NamedTuple):
    """The files of one split as they were found, and their class indices, (N,) int64, -1 if there are no classes."""

    entries: Entries
    labels: np.ndarray


class Held(NamedTuple):
    """How much of train is held out, and how it is chosen: the arguments ``test`` ... ``stratify`` of a source."""

    test: int | float
    validation: int | float
    seed: int
    stratify: bool = False


@dataclass(frozen=True)
class Divided:
    """The splits of a set of files, but for the pixels: what is kept of it (`listed`), so that files need no listing.

    - `key`: of the files, their order and their preprocessing; pixels that were decoded once are cached under it.
    - `shape`: of an image, (C, H, W).
    - `bounds`: first and last position of every split, the latter excluded.
    - `classes`: their names; `labels`: (N,) int64, or None without classes.
    - `notes`, `warnings`: lines for the log, each time.
    - `entries`: files in stored order if they are decoded at access, otherwise None.
    """

    key: str
    shape: tuple[int, int, int]
    bounds: Mapping[str, tuple[int, int]]
    classes: tuple[str, ...]
    labels: np.ndarray | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    entries: Entries | None = None

    def pixels(self, recipe: Recipe, root: Path) -> Any:
        """Return the pixels, (N, C, H, W) uint8: a memmap of the cache, None if it has them no longer, or AtAccess."""
        if self.entries is not None:
            return AtAccess(self.entries, recipe, self.shape, root)
        found = cache.load(self.key)
        return None if found is None else found[0]

    def splits(self, name: str, pixels: Any) -> dict[str, Images]:
        """Return the images of every split, which are slices of the pixels."""
        spec, out = ImageSpec(*self.shape, len(self.classes)), {}
        for split, (a, b) in self.bounds.items():
            if a == b:
                continue
            digest = hashlib.sha256(f"{self.key} {a} {b} {self.classes}".encode()).hexdigest()
            labels = None if self.labels is None else self.labels[a:b]
            out[split] = Images(part_of(pixels, slice(a, b)), labels, spec, name, split, digest, self.classes)
        return out


def divide(
    parts: Mapping[str, Part], classes: tuple[str, ...], recipe: Recipe, held: Held, root: Path, when: When
) -> tuple[Divided, Any]:
    """Hold test and validation out of train unless they have files of their own; decode the files, or only plan to.

    The images of a part are stored in a permutation chosen by the seed rather than sorted. A held-out part is then a
    slice of the memmap, one cache entry serves every value of `validation` and `test`, and the first n images of a
    split are a random sample of it rather than its first classes. With `stratify`, every held-out part has the classes
    in their proportions, and leaves each at least one training image.

    Args:
        parts: what was found.
        classes: their names; empty: there are none.
        recipe: what is done to each file.
        held: what is held out.
        root: names the files in messages.
        when: decode them ``once``, at every ``access``, or, ``auto``, once if the pixels take at most half of the room
            that is left for the cache.

    Returns:
        The splits, and the pixels.

    Raises:
        UsageError: under the conditions of `decode`, and if too many are held out, or a class has no training image
            left.
    """
    order = stratified if held.stratify else lambda labels, seed: permutation(len(labels), seed)
    rows = {split: order(part.labels, held.seed) for split, part in parts.items() if len(part.labels)}
    found = [parts[split]._replace(entries=parts[split].entries.take(rows[split])) for split in SPLITS if split in rows]
    entries = joined([part.entries for part in found])
    labels = np.concatenate([parts[split].labels[rows[split]] for split in SPLITS if split in rows]).astype(np.int64)
    counts = {split: len(rows[split]) for split in rows}
    key = cache_key(entries, recipe, counts, held.seed)
    whole = Divided(
        key,
        (0, 0, 0),
        _bounds(counts, held.test, held.validation),
        classes,
        labels if classes else None,
        (),
        (),
        entries,
    )
    if when != "access":
        try:
            pixels, meta = decode(entries, recipe, key, root, must=when == "once")
            return _decoded(whole, entries, meta, pixels.shape[1:], recipe, held, root), pixels
        except NoRoom as error:
            logger.warning("%s: %s; the images are decoded whenever they are used", root, error)
    with quiet():
        shape = shape_of(entries, recipe, root)
    line = f"decoded whenever they are used, {cut_words(recipe.crop, recipe.half)} to {sides(*shape[1:])}"
    planned = replace(whole, shape=shape, notes=(line,))
    _check(planned, held, root)
    return planned, planned.pixels(recipe, root)


def _decoded(
    whole: Divided, entries: Entries, meta: dict[str, Any], shape: tuple[int, int, int], recipe: Recipe, held: Held,
    root: Path,
) -> Divided:  # fmt: skip
    """Return the splits without the files that were skipped."""
    kept = np.ones(len(entries), dtype=bool)
    kept[[position for position, _ in meta["skipped"]]] = False
    before = np.concatenate([[0], np.cumsum(kept)])  # position among the files -> position among the decoded images
    bounds = {split: (int(before[start]), int(before[stop])) for split, (start, stop) in whole.bounds.items()}
    channels, height, width = shape
    notes = [skipped_words(entries, meta)] if meta["skipped"] else []
    notes += told(meta, (width, height), recipe.crop, recipe.half) + duplicates(meta.get("twins", ()), bounds)
    labels = None if whole.labels is None else whole.labels[kept]
    found = replace(
        whole, shape=(channels, height, width), bounds=bounds, labels=labels, notes=tuple(notes),
        warnings=tuple(warned(entries, meta)), entries=None,
    )  # fmt: skip
    _check(found, held, root)
    return found


def _check(found: Divided, held: Held, root: Path) -> None:
    if held.stratify and found.labels is not None:
        check_classes(found.labels[slice(*found.bounds["train"])], found.classes, root)


def _bounds(counts: dict[str, int], test: int | float, validation: int | float) -> dict[str, tuple[int, int]]:
    """Return the start and stop of every split in the concatenation train + validation + test."""
    ends = np.cumsum([counts.get(split, 0) for split in SPLITS]).tolist()
    bounds = {"validation": (ends[0], ends[1]), "test": (ends[1], ends[2])}
    start = 0
    if "test" not in counts:
        start = held_count(ends[0], test, "test")
        bounds["test"] = (0, start)
    if "validation" not in counts:
        held = held_count(ends[0] - start, validation, "validation")
        bounds["validation"] = (start, start + held)
        start += held
    return {**bounds, "train": (start, ends[0])}
