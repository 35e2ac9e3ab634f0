"""A cache of decoded pixels on disk, ``<cache>/decoded/<key>/{pixels.npy, meta.json}``; entries appear atomically.

Beside it lie lists of files, ``<cache>/listed/<key>/`` (`data.listed`).

``<cache>`` is $GANCLI_CACHE or ~/.cache/gancli. Its contents can be deleted at any time.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gancli.files import cache_dir

_STALE = 24 * 3600  # seconds after which the temporary folder of a killed process is deleted


def decoded_dir() -> Path:
    """Return the folder that holds the cached entries."""
    return cache_dir() / "decoded"


def load(key: str) -> tuple[np.ndarray, dict] | None:
    """Return the pixels, an (N, C, H, W) uint8 memmap, and the metadata; None if the entry is missing or damaged."""
    path = decoded_dir() / key
    try:
        meta = json.loads((path / "meta.json").read_text())
        # "c", copy on write: torch.from_numpy warns about read-only arrays, and nothing ever writes to it.
        pixels = np.load(path / "pixels.npy", mmap_mode="c")
    except (OSError, ValueError, EOFError):
        return None
    return (pixels, meta) if pixels.dtype == np.uint8 and pixels.ndim == 4 else None


def array(path: Path) -> np.ndarray:
    """Return an array that save() wrote; it stays on disk until it is used. Raises OSError, ValueError, EOFError."""
    return np.load(path, mmap_mode="r")


def save(path: Path, values: np.ndarray) -> None:
    """Write an array of numbers. Raises OSError."""
    np.save(path, values, allow_pickle=False)


def note(path: Path, facts: dict[str, Any]) -> None:
    """Write plain JSON types. Raises OSError."""
    path.write_text(json.dumps(facts))


def room() -> int:
    """Return how many bytes are free where the cache lies, or will lie."""
    folder = cache_dir().absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


class Writer:
    """Append images to ``pixels.npy``.

    A writable memmap would end in SIGBUS when the disk is full; write() raises an OSError instead.
    """

    def __init__(self, file: BinaryIO, shape: tuple[int, int, int]) -> None:
        self.shape, self.count, self.file = shape, 0, file
        self.meta: dict[str, Any] = {}
        self._header()

    def append(self, image: np.ndarray) -> None:
        """Write one image, (C, H, W) uint8."""
        self.file.write(np.ascontiguousarray(image).data)
        self.count += 1

    def finish(self) -> None:
        """Write the number of images into the header."""
        self.file.seek(0)
        self._header()

    def _header(self) -> None:
        # NumPy pads the header, so that it keeps its size when the first axis grows.
        fields = {"descr": "|u1", "fortran_order": False, "shape": (self.count, *self.shape)}
        np.lib.format.write_array_header_1_0(self.file, fields)


@contextmanager
def writing(key: str, shape: tuple[int, int, int]) -> Iterator[Writer]:
    """Yield a Writer and publish its files under ``key`` on exit; an exception leaves nothing behind.

    ``writer.meta`` is stored as JSON beside the pixels. Raises OSError if the cache cannot be written.
    """
    with publishing(decoded_dir() / key, lambda: load(key) is not None) as temporary:
        with (temporary / "pixels.npy").open("wb") as file:
            writer = Writer(file, shape)
            yield writer
            writer.finish()
        (temporary / "meta.json").write_text(json.dumps(writer.meta))


@contextmanager
def publishing(final: Path, good: Callable[[], bool]) -> Iterator[Path]:
    """Yield a new folder, which becomes ``final`` on exit; an exception leaves nothing behind.

    Args:
        final: a folder of the cache.
        good: tells whether it is there already and undamaged, so that the new one is not needed.

    Raises:
        OSError: the cache cannot be written.
    """
    parent = final.parent
    parent.mkdir(parents=True, exist_ok=True)
    _sweep(parent)
    temporary = Path(tempfile.mkdtemp(prefix=f"{final.name[:16]}.", suffix=".tmp", dir=parent))
    try:
        yield temporary
        if not good():
            shutil.rmtree(final, ignore_errors=True)  # damaged or missing
        try:
            os.rename(temporary, final)
        except OSError:
            if not good():  # otherwise another process has written the same entry first
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sweep(parent: Path) -> None:
    for path in parent.glob("*.tmp"):
        try:
            if time.time() - path.stat().st_mtime > _STALE:
                shutil.rmtree(path, ignore_errors=True)
        except OSError:  # another process swept it first
            continue
