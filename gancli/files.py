"""Atomic writes, hashes of files, and the cache folder, which may be deleted at any time."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gancli.errors import UsageError

TEMPORARY = ".tmp"  # suffix of unfinished files, which a killed process leaves behind


def cache_dir() -> Path:
    """Return the cache folder for decoded data, classifiers and statistics: $GANCLI_CACHE or ~/.cache/gancli."""
    return Path(os.environ.get("GANCLI_CACHE") or "~/.cache/gancli").expanduser()


def digest(facts: Mapping[str, object]) -> str:
    """Return a SHA-256 of the facts (plain JSON types) as 64 hex digits, independent of their order."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_empty(folder: Path) -> None:
    """Refuse a folder that already holds files. Raises UsageError."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty, and nothing is overwritten; choose another folder with out=...")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to ``path``; on exit the file is synced to disk and renamed to ``path``.

    A crash at any moment leaves the old file or the new one. Raises OSError if the disk is full or not writable; the
    temporary file is then removed and the old one untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())  # otherwise a power cut could leave an empty file under the new name
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
