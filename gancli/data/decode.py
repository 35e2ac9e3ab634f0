"""Decode image files into the cache, once and on all cores, and divide them into splits."""

import hashlib
import json
import logging
import struct
import time
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from gancli.data import cache
from gancli.data.files import Entry, one_line
from gancli.data.pixels import flatten, halved, is_grey, parallel, resize, threads, to_array, upright_size
from gancli.data.source import SPLITS, Images, held_count, permutation
from gancli.data.spec import ImageSpec
from gancli.errors import UsageError

_FORMAT = 1  # increased whenever the same files would decode to different pixels
_SECONDS = 5.0  # between two progress messages
logger = logging.getLogger("gancli")

# What Pillow and zipfile raise for damaged files; fuzzing triggers every one of these.
_BROKEN = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError),
    *(AssertionError, RuntimeError, struct.error, zlib.error, zipfile.BadZipFile, Image.DecompressionBombError),
)


@dataclass(frozen=True)
class Recipe:
    """How files are converted to arrays; part of the cache key."""

    size: int | None = None
    channels: int | None = None
    crop: str | int = "center"
    skip: bool = False  # skip unreadable files instead of raising an error
    half: int | None = None  # 0 or 1: keep the left or the right half of each picture, before any other step


@dataclass(frozen=True)
class Item:
    """An image file and its class index, -1 if there are no classes."""

    entry: Entry
    label: int = -1


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
) -> dict[str, Images]:
    """Decode the files of every part; hold test and validation out of train unless they have files of their own.

    The images of a part are stored in a permutation chosen by `seed` rather than sorted. A held-out part is then a
    slice of the memmap, one cache entry serves every value of `validation` and `test`, and the first n images of a
    split are a random sample of it rather than its first classes. Raises UsageError under the conditions of `decode`.
    """
    parts = {split: [items[i] for i in permutation(len(items), seed)] for split, items in parts.items() if items}
    items = [item for split in SPLITS if split in parts for item in parts[split]]
    key = cache_key([item.entry for item in items], recipe, {s: len(parts[s]) for s in parts}, seed)
    pixels, skipped = decode([item.entry for item in items], recipe, key, root)
    kept = np.ones(len(items), dtype=bool)
    kept[skipped] = False
    before = np.concatenate([[0], np.cumsum(kept)])  # position among the files -> position among the decoded images
    labels = np.array([item.label for item in items], np.int64)[kept] if class_names else None

    out = {}
    channels, height, width = pixels.shape[1:]
    for split, (start, stop) in _bounds({s: len(parts[s]) for s in parts}, test, validation).items():
        a, b = int(before[start]), int(before[stop])
        if a == b:
            continue
        spec = ImageSpec(channels, height, width, len(class_names))
        digest = hashlib.sha256(f"{key} {a} {b} {class_names}".encode()).hexdigest()
        part = None if labels is None else labels[a:b]
        out[split] = Images(pixels[a:b], part, spec, name, split, digest, class_names)
    return out


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


def cache_key(entries: Sequence[Entry], recipe: Recipe, counts: dict[str, int], seed: int) -> str:
    """Return the SHA-256 of the preprocessing and of the files' names, sizes and stamps, in stored order."""
    digest = hashlib.sha256(json.dumps([_FORMAT, vars(recipe), counts, seed], sort_keys=True).encode())
    for entry in entries:
        digest.update(f"{entry.name}\0{entry.size}\0{entry.stamp}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def decode(entries: Sequence[Entry], recipe: Recipe, key: str, root: Path) -> tuple[np.ndarray, list[int]]:
    """Return the pixels, an (N, C, H, W) uint8 memmap, and the positions of skipped files; decode if not cached.

    If the cache cannot be written, logs a warning and decodes into memory.

    Raises:
        UsageError: the images differ in size and `recipe.size` is None; a file cannot be read and `recipe.skip` is
            false; or no file can be read.
    """
    found = cache.load(key)
    if found is None:
        Image.init()  # load all plugins now: loading them lazily is not thread-safe
        with _quiet():
            shape = _shape(entries, recipe, root)
            found = _decode_to_cache(entries, recipe, key, root, shape)
    pixels, meta = found
    skipped = [position for position, _ in meta["skipped"]]
    if skipped:
        first = "; ".join(f"{entries[i].name}: {why}" for i, why in meta["skipped"][:3])
        logger.warning("%s: skipped %d of %d images that cannot be read (%s)", root, len(skipped), len(entries), first)
    return pixels, skipped


def _decode_to_cache(
    entries: Sequence[Entry], recipe: Recipe, key: str, root: Path, shape: tuple[int, int, int]
) -> tuple[np.ndarray, dict]:
    broken: list[tuple[int, str]] = []
    try:
        with cache.writing(key, shape) as writer:
            logger.info("decoding %d images of %s into %s (only once)", len(entries), root, cache.decoded_dir() / key)
            for image in _rows(entries, recipe, shape, broken):
                writer.append(image)
            _refuse(entries, broken, recipe, root)
            writer.meta = {"skipped": broken, "root": str(root), "recipe": vars(recipe)}
        if (found := cache.load(key)) is not None:
            return found
        reason = "the written files cannot be read back"
    except OSError as error:
        reason = error.strerror or one_line(error)
    logger.warning(
        "cannot write the cache %s (%s): decoding %d images into memory; "
        "set GANCLI_CACHE to a folder that can be written",
        *(cache.decoded_dir(), reason, len(entries)),
    )
    broken.clear()
    pixels = np.empty((len(entries), *shape), np.uint8)
    count = 0
    for count, image in enumerate(_rows(entries, recipe, shape, broken), 1):
        pixels[count - 1] = image
    _refuse(entries, broken, recipe, root)
    return pixels[:count], {"skipped": broken}


def _rows(
    entries: Sequence[Entry], recipe: Recipe, shape: tuple[int, int, int], broken: list[tuple[int, str]]
) -> Iterator[np.ndarray]:
    """Yield the readable images in order; append (position, reason) to `broken` for each of the others."""

    def one(entry: Entry) -> np.ndarray | str:
        try:
            with entry.open() as file, Image.open(file) as image:
                array = to_array(resize(halved(flatten(image, shape[0]), recipe.half), recipe.size, recipe.crop))
        except _BROKEN as error:
            return _reason(error)
        if array.shape != shape:
            return f"its pixels are {array.shape[2]}x{array.shape[1]}, not {shape[2]}x{shape[1]}"
        return array

    told = time.monotonic()
    for i, result in enumerate(parallel(one, entries, threads(_mean_bytes(entries)))):
        if isinstance(result, str):
            broken.append((i, result))
        else:
            yield result
        if time.monotonic() - told > _SECONDS:
            told = time.monotonic()
            logger.info("decoded %d of %d images (%d %%)", i + 1, len(entries), 100 * (i + 1) // len(entries))


def _shape(entries: Sequence[Entry], recipe: Recipe, root: Path) -> tuple[int, int, int]:
    """Return the shape (C, H, W) of the decoded images, from the recipe or from the headers of the files."""
    if recipe.size and recipe.channels:
        return recipe.channels, recipe.size, recipe.size

    def header(entry: Entry) -> tuple[tuple[int, int], bool] | None:
        try:
            with entry.open() as file, Image.open(file) as image:
                return upright_size(image), is_grey(image)
        except _BROKEN:
            return None  # decoding fails as well, and counts it

    logger.info("reading the headers of %d images of %s", len(entries), root)
    sizes: Counter[tuple[int, int]] = Counter()
    grey = True
    with closing(parallel(header, entries, threads(_mean_bytes(entries)))) as headers:
        for found in headers:
            if found is None:
                continue
            width, height = found[0][0] // (1 if recipe.half is None else 2), found[0][1]
            limit = recipe.crop if isinstance(recipe.crop, int) else max(width, height)
            sizes[(recipe.size or min(width, limit), recipe.size or min(height, limit))] += 1
            grey = grey and found[1]
            if recipe.size and not grey:
                break  # the shape is known
    if not sizes:
        raise UsageError(f"{root}: none of its {len(entries)} images can be read, e.g. {entries[0].name}")
    if len(sizes) > 1:
        seen = ", ".join(f"{w}x{h} ({n})" for (w, h), n in sizes.most_common(3))
        more = f" and {len(sizes) - 3} other sizes" if len(sizes) > 3 else ""
        raise UsageError(
            f"{root}: images of different sizes: {seen}{more}; training requires a single size: add data.size=64"
        )
    ((width, height),) = sizes
    return recipe.channels or (1 if grey else 3), height, width


def _refuse(entries: Sequence[Entry], broken: list[tuple[int, str]], recipe: Recipe, root: Path) -> None:
    if len(broken) == len(entries):
        i, why = broken[0]
        raise UsageError(f"{root}: none of its {len(entries)} images can be read, e.g. {entries[i].name}: {why}")
    if broken and not recipe.skip:
        first = "; ".join(f"{entries[i].name}: {why}" for i, why in broken[:3])
        first += "; ..." if len(broken) > 3 else ""
        raise UsageError(
            f"{root}: {len(broken)} of {len(entries)} images cannot be read ({first}); "
            "repair or remove them, or skip them with data.on_error=skip"
        )


def _reason(error: BaseException) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image Pillow knows"
    return getattr(error, "strerror", None) or one_line(error)


def _mean_bytes(entries: Sequence[Entry]) -> float:
    return sum(max(entry.size, 0) for entry in entries) / max(len(entries), 1)


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress Pillow's warnings about malformed EXIF, palettes and large pictures."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
