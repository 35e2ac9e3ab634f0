"""Divide decoded image files into train, validation and test."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gancli.data.decode import Recipe, cache_key, decode
from gancli.data.facts import check_classes, duplicates, skipped_words, told
from gancli.data.files import Entry
from gancli.data.source import SPLITS, Images, held_count, permutation, stratified
from gancli.data.spec import ImageSpec


@dataclass(frozen=True)
class Item:
    """An image file and its class index, -1 if there are no classes."""

    entry: Entry
    label: int = -1


class Decoded(NamedTuple):
    """Splits of decoded images, and what was done to the files, in lines for the log."""

    splits: dict[str, Images]
    notes: list[str]


def decode_splits(
    name: str,
    root: Path,
    parts: dict[str, list[Item]],
    class_names: tuple[str, ...],
    recipe: Recipe,
    *,
    test: int | float,
    validation: int | float,
    seed: int,
    stratify: bool = False,
) -> Decoded:
    """Decode the files of every part; hold test and validation out of train unless they have files of their own.

    The images of a part are stored in a permutation chosen by `seed` rather than sorted. A held-out part is then a
    slice of the memmap, one cache entry serves every value of `validation` and `test`, and the first n images of a
    split are a random sample of it rather than its first classes. With `stratify`, every held-out part has the classes
    in their proportions, and leaves each at least one training image. Raises UsageError under the conditions of
    `decode`, and if too many are held out, or a class has no training image left.
    """
    order = stratified if stratify else lambda labels, seed: permutation(len(labels), seed)
    parts = {
        split: [items[i] for i in order(np.array([item.label for item in items]), seed)]
        for split, items in parts.items()
        if items
    }
    items = [item for split in SPLITS if split in parts for item in parts[split]]
    key = cache_key([item.entry for item in items], recipe, {s: len(parts[s]) for s in parts}, seed)
    pixels, meta = decode([item.entry for item in items], recipe, key, root)
    skipped = [position for position, _ in meta["skipped"]]
    kept = np.ones(len(items), dtype=bool)
    kept[skipped] = False
    before = np.concatenate([[0], np.cumsum(kept)])  # position among the files -> position among the decoded images
    labels = np.array([item.label for item in items], np.int64)[kept] if class_names else None

    out = {}
    channels, height, width = pixels.shape[1:]
    counts = {split: len(part) for split, part in parts.items()}
    bounds = {
        split: (int(before[start]), int(before[stop]))
        for split, (start, stop) in _bounds(counts, test, validation).items()
    }
    if stratify and labels is not None:
        check_classes(labels[slice(*bounds["train"])], class_names, root)
    for split, (a, b) in bounds.items():
        if a == b:
            continue
        spec = ImageSpec(channels, height, width, len(class_names))
        digest = hashlib.sha256(f"{key} {a} {b} {class_names}".encode()).hexdigest()
        part = None if labels is None else labels[a:b]
        out[split] = Images(pixels[a:b], part, spec, name, split, digest, class_names)
    notes = [skipped_words([item.entry for item in items], meta)] if skipped else []
    notes += told(meta, (width, height), recipe.crop, recipe.half) + duplicates(meta.get("twins", ()), bounds)
    return Decoded(out, notes)


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
