"""Decoded pixels on disk, ``<cache>/decoded/<key>/{pixels.npy, meta.json}``: complete or not there at all.

``<cache>`` is $GANCLI_CACHE or ~/.cache/gancli. Everything in it can be deleted at any time.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from gancli.files import cache_dir

_STALE = 24 * 3600  # seconds after which the temporary folder of a killed decode is swept up


def decoded_dir() -> Path:
    return cache_dir() / "decoded"


def load(key: str) -> tuple[np.ndarray, dict] | None:
    """(pixels as a memmap (N, C, H, W) uint8, meta), or None when the key is not cached or its files are damaged."""
    path = decoded_dir() / key
    try:
        meta = json.loads((path / "meta.json").read_text())
        # "c", copy on write: torch.from_numpy warns about read-only arrays, and nothing ever writes to it.
        pixels = np.load(path / "pixels.npy", mmap_mode="c")
    except (OSError, ValueError, EOFError):
        return None
    return (pixels, meta) if pixels.dtype == np.uint8 and pixels.ndim == 4 else None


class Writer:
    """Appends images to ``pixels.npy`` one after the other.

    Not a writable memmap: on a full disk that ends in SIGBUS, whereas write() raises an OSError.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int]) -> None:
        self.shape, self.count = shape, 0
        self.meta: dict[str, Any] = {}
        self.file = open(path, "wb")
        self._header()

    def append(self, image: np.ndarray) -> None:
        """Write one uint8 (C, H, W)."""
        self.file.write(np.ascontiguousarray(image).data)
        self.count += 1

    def close(self) -> None:
        self.file.seek(0)
        self._header()
        self.file.close()

    def _header(self) -> None:
        # NumPy pads its header so that a first axis which has grown still fits in the same place.
        fields = {"descr": "|u1", "fortran_order": False, "shape": (self.count, *self.shape)}
        np.lib.format.write_array_header_1_0(self.file, fields)


@contextmanager
def writing(key: str, shape: tuple[int, int, int]) -> Iterator[Writer]:
    """Yield a Writer; on leaving, its files get their final name. An exception leaves nothing behind.

    The caller puts what it wants to remember into ``writer.meta`` (JSON). Raises OSError when the cache cannot
    be written.
    """
    parent = decoded_dir()
    parent.mkdir(parents=True, exist_ok=True)
    _sweep(parent)
    temporary = Path(tempfile.mkdtemp(prefix=f"{key[:16]}.", suffix=".tmp", dir=parent))
    writer = None
    try:
        writer = Writer(temporary / "pixels.npy", shape)
        yield writer
        writer.close()
        (temporary / "meta.json").write_text(json.dumps(writer.meta))
        final = parent / key
        if load(key) is None:
            shutil.rmtree(final, ignore_errors=True)  # damaged, or not there
        try:
            os.rename(temporary, final)
        except OSError:
            if load(key) is None:  # otherwise another process was faster, with the same bytes
                raise
    finally:
        if writer is not None:
            writer.file.close()
        shutil.rmtree(temporary, ignore_errors=True)


def _sweep(parent: Path) -> None:
    for path in parent.glob("*.tmp"):
        try:
            if time.time() - path.stat().st_mtime > _STALE:
                shutil.rmtree(path, ignore_errors=True)
        except OSError:  # another process swept it first
            continue
