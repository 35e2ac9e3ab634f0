"""Files that are whole or not there, their hashes, and the folder of what may be deleted at any time."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gancli.errors import UsageError

TEMPORARY = ".tmp"  # ending of what a killed process leaves behind


def cache_dir() -> Path:
    """Return the folder of decoded data, classifiers and statistics: ``$GANCLI_CACHE`` or ``~/.cache/gancli``."""
    return Path(os.environ.get("GANCLI_CACHE") or "~/.cache/gancli").expanduser()


def digest(facts: Mapping[str, object]) -> str:
    """Return 64 hex digits that change when any of the facts (plain JSON types) does; their order does not count."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_lines(path: Path) -> Iterator[Any]:
    """Yield what the lines of a file hold, up to one that a kill has torn; nothing if there is no such file."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            row = json.loads(line)
        except ValueError:
            return
        yield row


def check_empty(folder: Path) -> None:
    """Refuse a folder that holds files already. Raises UsageError."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty, and nothing is overwritten; give another folder with out=...")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name next to ``path``; at the end it is on the disk and gets its real name.

    A crash at any moment leaves the old file or the new one. Raises OSError when the disk is full or not writable; the
    temporary file is gone then and the old one untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())  # or a power cut could leave the new name with nothing in it
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
