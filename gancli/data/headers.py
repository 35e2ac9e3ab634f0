"""What the headers of image files say: sizes, and whether they are grey."""

import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from PIL import Image

from gancli.data.files import Entry
from gancli.data.pixels import is_grey, parallel, threads, upright_size
from gancli.data.recipe import Recipe
from gancli.data.untrusted import Unreadable
from gancli.errors import UsageError, counted
from gancli.files import shown

logger = logging.getLogger("gancli")
_TOLD = 10_000  # files whose headers take long enough to be spoken of


def none_read(root: Path, number: int, entry: Entry, why: str) -> UsageError:
    """Return the error of pictures none of which can be read, with the reason of one of them."""
    what = "its only image cannot" if number == 1 else f"none of its {number:,} images can"
    return UsageError(f"{root}: {what} be read, e.g. {shown(entry.name)}: {why}")


def shape_of(entries: Sequence[Entry], recipe: Recipe, root: Path) -> tuple[int, int, int]:
    """Return the shape (C, H, W) of the decoded images, from the recipe or from the headers of the files.

    Raises:
        UsageError: none of them can be read, or they differ in size and the recipe names none.
    """
    if recipe.size and recipe.channels:
        return recipe.channels, recipe.size, recipe.size
    if len(entries) >= _TOLD:
        logger.info("reading the headers of %s of %s", counted(len(entries), "image"), root)

    def header(entry: Entry) -> tuple[tuple[int, int], bool] | str:
        try:
            with entry.picture() as image:
                return upright_size(image), is_grey(image)
        except Unreadable as error:
            return str(error)  # decoding fails as well, and counts it

    sizes: Counter[tuple[int, int]] = Counter()
    grey, why = True, ""
    with closing(parallel(header, entries, threads(mean_bytes(entries)))) as headers:
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
        raise none_read(root, len(entries), entries[0], why)
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
        return list(parallel(size, entries, threads(mean_bytes(entries))))


def mean_bytes(entries: Sequence[Entry]) -> float:
    """Return the mean size of some files in bytes, estimated from a thousand of them."""
    some = [max(entries[i].size, 0) for i in range(0, len(entries), max(len(entries) // 1000, 1))]
    return sum(some) / max(len(some), 1)


@contextmanager
def quiet() -> Iterator[None]:
    """Get Pillow ready for threads, and suppress its warnings about malformed EXIF and palettes."""
    Image.init()  # loads all plugins: loading them lazily is not thread-safe
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
