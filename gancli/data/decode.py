"""Decode image files into the cache, once and on all cores."""

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from gancli.data import cache
from gancli.data.facts import Fact, Facts, skipped_words
from gancli.data.files import Entry
from gancli.data.headers import mean_bytes, none_read, quiet, shape_of
from gancli.data.pixels import Depth, depth_warning, parallel, threads
from gancli.data.recipe import Otherwise, Recipe
from gancli.data.untrusted import Unreadable, one_line
from gancli.errors import UsageError, counted
from gancli.files import shown

_SECONDS = 5.0  # between two progress messages
_TRIED = 32  # files, until one can be read whose shape the others may have
logger = logging.getLogger("gancli")


class NoRoom(Exception):
    """The pixels fit neither into the cache nor into memory; the message says why."""


def decode(
    entries: Sequence[Entry], recipe: Recipe, key: str, root: Path, *, must: bool = True
) -> tuple[np.ndarray, dict]:
    """Return the pixels, an (N, C, H, W) uint8 memmap, and what is stored beside them; decode if not cached.

    The latter are the positions of ``skipped`` files with the reasons, and the facts of the others (`facts.Facts`).

    If the cache cannot be written, logs a warning and decodes into memory.

    Args:
        entries: the files, in the order in which they are stored.
        recipe: what is done to each.
        key: of the cache.
        root: names them in messages.
        must: decode them whatever room they take; otherwise they may have half of what is free.

    Raises:
        UsageError: the images differ in size and `recipe.size` is None; a file cannot be read and `recipe.skip` is
            false; or no file can be read.
        NoRoom: see ``must``.
    """
    found = cache.load(key)
    if found is None:
        with quiet():
            found = _decoded(entries, recipe, key, root, must)
    return found


def warned(entries: Sequence[Entry], meta: dict) -> list[str]:
    """Return what the log has to say of decoded files every time: which were skipped, and whether they are dark."""
    deep, brightest = meta.get("deep", (0, 0))
    skipped = [skipped_words(entries, meta)] if meta["skipped"] else []
    dark = depth_warning(deep, brightest, entries[0].files.asked.depth)
    return [*skipped, *([dark] if dark else [])]


def _decoded(entries: Sequence[Entry], recipe: Recipe, key: str, root: Path, must: bool) -> tuple[np.ndarray, dict]:
    """Decode with the shape of the first picture, or else, where one contradicts it, with that of all headers."""
    if (guess := _guess(entries, recipe, root)) is not None:
        size = len(entries) * int(np.prod(guess))
        if not must and size > cache.room() // 2:
            room = f"{cache.decoded_dir()} has {cache.room() / 1e9:.3g} GB free"
            raise NoRoom(f"{room}, and the pixels would take {size / 1e9:.3g} GB, more than half of it")
        with suppress(Otherwise):
            return _decode_to_cache(entries, recipe, key, root, guess, must, guessed=True)
    return _decode_to_cache(entries, recipe, key, root, shape_of(entries, recipe, root), must)


def _guess(entries: Sequence[Entry], recipe: Recipe, root: Path) -> tuple[int, int, int] | None:
    """Return the shape of the first of a few images that can be read; None: none of them can."""
    for entry in entries[:_TRIED]:
        with suppress(UsageError):
            return shape_of([entry], recipe, root)
    return None


def _decode_to_cache(
    entries: Sequence[Entry],
    recipe: Recipe,
    key: str,
    root: Path,
    shape: tuple[int, int, int],
    must: bool,
    *,
    guessed: bool = False,
) -> tuple[np.ndarray, dict]:
    """Decode into the cache or memory. Raises Otherwise if the shape is ``guessed`` and a picture contradicts it."""
    broken: list[tuple[int, str]] = []
    facts, deep = Facts(), Depth(recipe.bit_depth)
    try:
        with cache.writing(key, shape) as writer:
            many = counted(len(entries), "image")
            logger.info("decoding %s of %s into %s (only once)", many, root, cache.decoded_dir() / key)
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
    if not must and len(entries) * int(np.prod(shape)) > _memory() // 2:
        raise NoRoom(f"the cache {cache.decoded_dir()} cannot be written ({reason}), and memory is too small")
    logger.warning(
        "cannot write the cache %s (%s): decoding %s into memory; set GANCLI_CACHE to a folder that can be written",
        *(cache.decoded_dir(), reason, counted(len(entries), "image")),
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

    Raises Otherwise if the shape is ``guessed`` and an image contradicts it.
    """

    def one(entry: Entry) -> tuple[np.ndarray, Fact | None] | str:
        try:
            return recipe.pixels(entry, shape, deep, guessed=guessed)
        except Unreadable as error:
            return str(error)

    told = time.monotonic()
    for i, result in enumerate(parallel(one, entries, threads(mean_bytes(entries)))):
        if isinstance(result, str):
            broken.append((i, result))
        else:
            assert result[1] is not None  # it was looked at
            facts.add(result[1])
            yield result[0]
        if time.monotonic() - told > _SECONDS:
            told = time.monotonic()
            many = counted(len(entries), "image")
            logger.info("decoded %d of %s (%d %%)", i + 1, many, 100 * (i + 1) // len(entries))


def _refuse(entries: Sequence[Entry], broken: list[tuple[int, str]], recipe: Recipe, root: Path) -> None:
    many = counted(len(entries), "image")
    if len(broken) == len(entries):
        i, why = broken[0]
        raise none_read(root, len(entries), entries[i], why)
    if broken and not recipe.skip:
        first = "; ".join(f"{shown(entries[i].name)}: {why}" for i, why in broken[:3])
        first += "; ..." if len(broken) > 3 else ""
        raise UsageError(f"{root}: {len(broken)} of {many} cannot be read ({first}); {entries[0].files.asked.broken}")


def _memory() -> int:
    """Return the bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
