"""Convert pictures to uint8 (C, H, W): channels, bit depth, transparency, orientation, crop and size."""

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from gancli.data.keys import typed
from gancli.errors import UsageError

_GREY = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"}
_ALPHA = {"LA", "La", "PA", "RGBA", "RGBa"}
_ORIENTATION = 0x0112  # EXIF tag; 1 is upright, 5 to 8 swap width and height
_DEEP = {"I", "I;16", "I;16B", "I;16L", "I;16N"}


def check_crop(crop: str | int | None) -> str | int:
    """Return `crop` if it is "center", "none" or a number of pixels, otherwise raise UsageError; None means "none"."""
    if crop is None:
        return "none"
    if crop in ("center", "none") or (isinstance(crop, int) and not isinstance(crop, bool) and crop > 0):
        return crop
    raise UsageError(
        f"{typed('crop')}={crop!r}: allowed are center (the largest centred square), none (squeeze to a square) "
        "and a number of pixels (a centred square of that side)"
    )


def is_grey(image: Image.Image) -> bool:
    """Return whether the file stores only grey values, including grey palettes, without decoding the pixels."""
    if image.mode in ("P", "PA"):
        palette = np.asarray(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return image.mode in _GREY


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return (width, height) after EXIF orientation, without decoding the pixels."""
    rotated = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
    return image.size[::-1] if rotated else image.size


def flatten(image: Image.Image, channels: int | None = None, bits: int | None = None) -> Image.Image:
    """Convert to an upright, opaque picture of mode "L" (channels=1) or "RGB" (3); None: "L" if it is grey.

    - EXIF orientation is applied; only the first frame of an animation is used; colour profiles are ignored.
    - 16-bit grey is divided by 257 and rounded, so 65535 -> 255 and nothing saturates. 16-bit colour is reduced
      by Pillow, which keeps the high byte.
    - ``bits``, from 1 to 16: 16-bit grey has values of that many bits, such as 12; the highest of them becomes 255.
    - Transparent pixels are composited on white, as browsers show them; dropping the alpha channel would expose
      arbitrary colours.
    - RGB -> grey is ITU-R 601 luma; CMYK, YCbCr and others go through RGB.

    Raises ValueError for 32-bit integer and floating-point pictures, whose range is unknown, and values above ``bits``.
    """
    mode = "L" if (channels == 1 or (channels is None and is_grey(image))) else "RGB"
    if image.getexif().get(_ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("floating point image, its range is unknown; save it with 8 or 16 bits")
    if image.mode in _DEEP:
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("32-bit image, its range is unknown; save it with 8 or 16 bits")
        top = 2 ** (bits or 16) - 1
        if values.max() > top:
            raise ValueError(f"its values reach {values.max()}, which are more than bit_depth={bits} bits")
        image = Image.fromarray(((values * 255 + top // 2) // top).astype(np.uint8))
    if image.mode in _ALPHA or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    elif image.mode not in ("1", "L", "RGB"):
        image = image.convert("RGB")
    return image if image.mode == mode else image.convert(mode)


class Depth:
    """Flattens pictures and keeps in mind what those of 16 bits per channel use of their range.

    Threads may share it.

    Args:
        bits: how many of their bits pictures of 16 bits use, 1 to 16; None: all.
    """

    def __init__(self, bits: int | None = None) -> None:
        self.bits = bits
        self._brightest: list[int] = []  # value of each picture of 16 bits, 0 .. 255

    def flatten(self, image: Image.Image, channels: int | None = None) -> Image.Image:
        """As the function ``flatten``, also of 16-bit colour, of which Pillow keeps the high bytes."""
        deep = _is_deep(image)  # decoding forgets it
        flat = flatten(image if not deep or image.mode in _DEEP else self._scaled(image), channels, self.bits)
        if deep:
            self._brightest.append(int(np.max(flat.getextrema())))
        return flat

    def _scaled(self, image: Image.Image) -> Image.Image:
        """Scale the high bytes of 16-bit colour up, where files use fewer bits."""
        if self.bits in (None, 16):
            return image
        assert self.bits is not None
        top = (2**self.bits - 1) >> 8
        bands = image.split()
        colours = bands[: 1 if len(bands) == 2 else 3]  # the rest is opacity
        if top < 1 or max(band.getextrema()[1] for band in colours) > top:
            raise ValueError(f"colours of 16 bits, whose high bytes are not those of bit_depth={self.bits} bits")
        scaled = [band.point(lambda value: min(255, (value * 255 + top // 2) // top)) for band in colours]
        done = Image.merge(image.mode, [*scaled, *bands[len(colours) :]])
        done.info = image.info
        return done

    def counted(self) -> tuple[int, int]:
        """Return how many pictures had 16 bits, and the brightest value of all of them, 0 .. 255."""
        return len(self._brightest), max(self._brightest, default=0)


def depth_warning(pictures: int, brightest: int, key: str = "") -> str | None:
    """Return a warning if pictures of 16 bits leave half of the range or more unused.

    Args:
        pictures, brightest: see Depth.counted().
        key: the setting that names the bits that they use; empty: there is none.
    """
    if not pictures or brightest >= 128:
        return None
    return (
        f"the 16-bit pictures ({pictures}) use at most {100 * (brightest + 1) / 256:.2g} % of their range: they are "
        f"dark, and {brightest + 1} of 256 levels are left; "
        + (f"name the bits that they use, such as {key}=12" if key else "scale their values up to 65535")
    )


def _is_deep(image: Image.Image) -> bool:
    """Return whether a picture that is not decoded yet has more than 8 bits per channel."""
    for codec, _, _, args in getattr(image, "tile", ()):
        if codec == "ppm" and isinstance(args, tuple) and args[1] > 255:
            return True
        if ";16" in str(args) and "BGR;16" not in str(args):  # the latter are 16 bits per pixel
            return True
    return image.mode in _DEEP


def halved(image: Image.Image, half: int | None) -> Image.Image:
    """Return the left (0) or right (1) half of a picture, without the middle column of an odd width; None: all."""
    if half is None:
        return image
    width, height = image.size
    left = half * (width - width // 2)
    return image.crop((left, 0, left + width // 2, height))


def resize(image: Image.Image, size: int | None, crop: str | int = "center") -> Image.Image:
    """Crop, then resize an "L" or "RGB" picture to size x size with Pillow's antialiased bicubic filter.

    crop="center" keeps the largest centred square, "none" the whole picture regardless of its aspect ratio, and a
    number a centred square of at most that many pixels. With size=None, "center" and "none" have no effect.
    """
    width, height = image.size
    if crop != "none" and (size is not None or isinstance(crop, int)):
        side = crop if isinstance(crop, int) else min(width, height)
        w, h = min(width, side), min(height, side)
        left, top = (width - w) // 2, (height - h) // 2
        if (w, h) != image.size:
            image = image.crop((left, top, left + w, top + h))
    if size is not None and image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    return image


def to_array(image: Image.Image) -> np.ndarray:
    """Copy a picture of mode "L" or "RGB" to a new uint8 array, (C, H, W)."""
    array = np.array(image)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def fit(pixels: np.ndarray, size: int | None, channels: int | None, crop: str | int = "center") -> np.ndarray:
    """Apply `flatten` and `resize` to images, (N, C, H, W) uint8; return the array itself if nothing changes."""
    n, c, height, width = pixels.shape
    channels = channels or c
    cropped = isinstance(crop, int) and crop < max(height, width)
    if channels == c and not cropped and size in (None, height) and size in (None, width):
        return np.ascontiguousarray(pixels) if isinstance(pixels, np.ndarray) else pixels

    def one(array: np.ndarray) -> np.ndarray:
        image = Image.fromarray(array[0] if c == 1 else np.ascontiguousarray(array.transpose(1, 2, 0)))
        return to_array(resize(flatten(image, channels), size, crop))

    if not isinstance(pixels, np.ndarray):  # decoded at access, and fitted there, too
        return pixels.changed(one, f"{size} {channels} {crop}")
    out = None
    for i, array in enumerate(parallel(one, pixels, threads(pixels[0].nbytes))):
        if out is None:
            out = np.empty((n, *array.shape), np.uint8)
        out[i] = array
    return np.ascontiguousarray(pixels) if out is None else out


def threads(mean_bytes: float) -> int:
    """Return how many threads to use for pictures of this mean size in bytes, compressed or raw.

    Pillow releases the GIL while it decodes. Below a few KB, threads do not pay off: for 10,000 JPEGs of
    32 x 32 pixels, two threads take 1.5 s and one takes 1.0 s.
    """
    return 1 if mean_bytes < 3000 else min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 4)


def parallel(fn: Callable, items: Iterable, workers: int, chunk: int = 32) -> Generator[Any, None, None]:
    """Map ``fn`` over ``items`` on threads, in order, with a bounded number of pending results."""
    if workers <= 1:
        yield from map(fn, items)
        return
    items = iter(items)
    pool = ThreadPoolExecutor(workers)

    def run(batch: Sequence) -> list:
        return [fn(item) for item in batch]

    try:
        waiting = [pool.submit(run, batch) for batch in _chunks(items, chunk, 2 * workers)]
        while waiting:
            done = waiting.pop(0).result()
            waiting += [pool.submit(run, batch) for batch in _chunks(items, chunk, 1)]
            yield from done
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _chunks(items: Iterator, chunk: int, count: int) -> Iterator[list]:
    for _ in range(count):
        if batch := list(islice(items, chunk)):
            yield batch
