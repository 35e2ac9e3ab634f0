"""Decode image files into the cache, once and on all cores."""

import hashlib
import json
import logging
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from gancli.data import cache
from gancli.data.facts import Fact, Facts, fact, skipped_words
from gancli.data.files import Entry
from gancli.data.pixels import (
    Depth,
    depth_warning,
    halved,
    is_grey,
    parallel,
    resize,
    threads,
    to_array,
    upright_size,
)
from gancli.data.untrusted import Unreadable, one_line
from gancli.errors import UsageError
from gancli.files import shown

_FORMAT = 1  # increased whenever the same files would decode to different pixels
_SECONDS = 5.0  # between two progress messages
_TRIED = 32  # files, until one can be read whose shape the others may have
logger = logging.getLogger("gancli")


@dataclass(frozen=True)
class Recipe:
    """How files are converted to arrays; part of the cache key."""

    size: int | None = None
    channels: int | None = None
    crop: str | int = "center"
    skip: bool = False  # skip unreadable files instead of raising an error
    bit_depth: int | None = None  # bits that pictures of 16 bits per channel use; None: all
    half: int | None = None  # 0 or 1: keep the left or the right half of each picture, before any other step


def cache_key(entries: Sequence[Entry], recipe: Recipe, counts: dict[str, int], seed: int) -> str:
    """Return the SHA-256 of the preprocessing and of the files' names, sizes and stamps, in stored order."""
    digest = hashlib.sha256(json.dumps([_FORMAT, _facts(recipe), counts, seed], sort_keys=True).encode())
    for entry in entries:
        digest.update(f"{entry.name}\0{entry.size}\0{entry.stamp}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _facts(recipe: Recipe) -> dict[str, object]:
    """Return the recipe without a bit depth that is not set, which files cached by earlier releases do not have."""
    return {key: value for key, value in vars(recipe).items() if key != "bit_depth" or value is not None}


def decode(entries: Sequence[Entry], recipe: Recipe, key: str, root: Path) -> tuple[np.ndarray, dict]:
    """Return the pixels, an (N, C, H, W) uint8 memmap, and what is stored beside them; decode if not cached.

    The latter are the positions of ``skipped`` files with the reasons, and the facts of the others (`facts.Facts`).

    If the cache cannot be written, logs a warning and decodes into memory.

    Raises:
        UsageError: the images differ in size and `recipe.size` is None; a file cannot be read and `recipe.skip` is
            false; or no file can be read.
    """
    found = cache.load(key)
    if found is None:
        with quiet():
            found = _decoded(entries, recipe, key, root)
    pixels, meta = found
    if meta["skipped"]:
        logger.warning("%s: %s", root, skipped_words(entries, meta))
    deep, brightest = meta.get("deep", (0, 0))
    if text := depth_warning(deep, brightest, entries[0].files.asked.depth):
        logger.warning("%s: %s", root, text)
    return pixels, meta


class _Otherwise(Exception):
    """A picture contradicts the shape that was taken from another one."""


def _decoded(entries: Sequence[Entry], recipe: Recipe, key: str, root: Path) -> tuple[np.ndarray, dict]:
    """Decode with the shape of the first picture, or else, where one contradicts it, with that of all headers."""
    if (guess := _guess(entries, recipe, root)) is not None:
        with suppress(_Otherwise):
            return _decode_to_cache(entries, recipe, key, root, guess, guessed=True)
    if not (recipe.size and recipe.channels):
        logger.info("reading the headers of %d images of %s", len(entries), root)
    return _decode_to_cache(entries, recipe, key, root, _shape(entries, recipe, root))


def _guess(entries: Sequence[Entry], recipe: Recipe, root: Path) -> tuple[int, int, int] | None:
    """Return the shape of the first of a few images that can be read; None: none of them can."""
    for entry in entries[:_TRIED]:
        with suppress(UsageError):
            return _shape([entry], recipe, root)
    return None


def _decode_to_cache(
    entries: Sequence[Entry],
    recipe: Recipe,
    key: str,
    root: Path,
    shape: tuple[int, int, int],
    *,
    guessed: bool = False,
) -> tuple[np.ndarray, dict]:
    """Decode into the cache or memory. Raises _Otherwise if the shape is ``guessed`` and a picture contradicts it."""
    broken: list[tuple[int, str]] = []
    facts, deep = Facts(), Depth(recipe.bit_depth)
    try:
        with cache.writing(key, shape) as writer:
            logger.info("decoding %d images of %s into %s (only once)", len(entries), root, cache.decoded_dir() / key)
            for image in _rows(entries, recipe, shape, broken, facts, deep, guessed):
                writer.append(image)
            _refuse(entries, broken, recipe, root)
            seen = {"skipped": broken, "deep": deep.counted(), **facts.meta()}
            writer.meta = {**seen, "root": str(root), "recipe": vars(recipe)}
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
    facts, deep = Facts(), Depth(recipe.bit_depth)
    pixels = np.empty((len(entries), *shape), np.uint8)
    count = 0
    for count, image in enumerate(_rows(entries, recipe, shape, broken, facts, deep, guessed), 1):
        pixels[count - 1] = image
    _refuse(entries, broken, recipe, root)
    return pixels[:count], {"skipped": broken, "deep": deep.counted(), **facts.meta()}


def _rows(
    entries: Sequence[Entry],
    recipe: Recipe,
    shape: tuple[int, int, int],
    broken: list[tuple[int, str]],
    facts: Facts,
    deep: Depth,
    guessed: bool,
) -> Iterator[np.ndarray]:
    """Yield the readable images in order, and add their facts; append (position, reason) to `broken` for the others.

    Raises _Otherwise if the shape is ``guessed`` and an image contradicts it.
    """
    grey = guessed and not recipe.channels and shape[0] == 1

    def one(entry: Entry) -> tuple[np.ndarray, Fact] | str:
        try:
            with entry.picture() as image:
                if grey and not is_grey(image):
                    raise _Otherwise
                flat = deep.flatten(image, shape[0])
                array = to_array(resize(halved(flat, recipe.half), recipe.size, recipe.crop))
                known = fact(image, array)
        except Unreadable as error:
            return str(error)
        if array.shape != shape:
            if guessed:
                raise _Otherwise
            return f"its pixels are {array.shape[2]}x{array.shape[1]}, not {shape[2]}x{shape[1]}"
        return array, known

    told = time.monotonic()
    for i, result in enumerate(parallel(one, entries, threads(_mean_bytes(entries)))):
        if isinstance(result, str):
            broken.append((i, result))
        else:
            facts.add(result[1])
            yield result[0]
        if time.monotonic() - told > _SECONDS:
            told = time.monotonic()
            logger.info("decoded %d of %d images (%d %%)", i + 1, len(entries), 100 * (i + 1) // len(entries))


def _shape(entries: Sequence[Entry], recipe: Recipe, root: Path) -> tuple[int, int, int]:
    """Return the shape (C, H, W) of the decoded images, from the recipe or from the headers of the files."""
    if recipe.size and recipe.channels:
        return recipe.channels, recipe.size, recipe.size

    def header(entry: Entry) -> tuple[tuple[int, int], bool] | str:
        try:
            with entry.picture() as image:
                return upright_size(image), is_grey(image)
        except Unreadable as error:
            return str(error)  # decoding fails as well, and counts it

    sizes: Counter[tuple[int, int]] = Counter()
    grey, why = True, ""
    with closing(parallel(header, entries, threads(_mean_bytes(entries)))) as headers:
        for found in headers:
            if isinstance(found, str):
                why = why or found
                continue
            width, height = found[0][0] // (1 if recipe.half is None else 2), found[0][1]
            limit = recipe.crop if isinstance(recipe.crop, int) else max(width, height)
            sizes[(recipe.size or min(width, limit), recipe.size or min(height, limit))] += 1
            grey = grey and found[1]
            if recipe.size and not grey:
                break  # the shape is known
    if not sizes:
        raise UsageError(f"{root}: none of its {len(entries)} images can be read, e.g. {shown(entries[0].name)}: {why}")
    if len(sizes) > 1:
        seen = ", ".join(f"{w}x{h} ({n})" for (w, h), n in sizes.most_common(3))
        more = f" and {len(sizes) - 3} other sizes" if len(sizes) > 3 else ""
        raise UsageError(f"{root}: images of different sizes: {seen}{more}; {entries[0].files.asked.sizes}")
    ((width, height),) = sizes
    return recipe.channels or (1 if grey else 3), height, width


def upright_sizes(entries: Sequence[Entry]) -> list[tuple[int, int] | None]:
    """Return (width, height) of the files, from their headers; None: such a file cannot be read."""

    def size(entry: Entry) -> tuple[int, int] | None:
        try:
            with entry.picture() as image:
                return upright_size(image)
        except Unreadable:
            return None

    with quiet():
        return list(parallel(size, entries, threads(_mean_bytes(entries))))


def _refuse(entries: Sequence[Entry], broken: list[tuple[int, str]], recipe: Recipe, root: Path) -> None:
    if len(broken) == len(entries):
        i, why = broken[0]
        raise UsageError(f"{root}: none of its {len(entries)} images can be read, e.g. {shown(entries[i].name)}: {why}")
    if broken and not recipe.skip:
        first = "; ".join(f"{shown(entries[i].name)}: {why}" for i, why in broken[:3])
        first += "; ..." if len(broken) > 3 else ""
        raise UsageError(
            f"{root}: {len(broken)} of {len(entries)} images cannot be read ({first}); {entries[0].files.asked.broken}"
        )


def _mean_bytes(entries: Sequence[Entry]) -> float:
    return sum(max(entry.size, 0) for entry in entries) / max(len(entries), 1)


@contextmanager
def quiet() -> Iterator[None]:
    """Get Pillow ready for threads, and suppress its warnings about malformed EXIF and palettes."""
    Image.init()  # loads all plugins: loading them lazily is not thread-safe
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
