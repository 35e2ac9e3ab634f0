"""Where metrics keep what is expensive to compute again: trained classifiers and reference statistics."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


def cache_dir() -> Path:
    """The folder of everything that may be deleted at any time: ``$GANCLI_CACHE`` or ``~/.cache/gancli``."""
    return Path(os.environ.get("GANCLI_CACHE") or "~/.cache/gancli").expanduser()


def digest(facts: Mapping[str, object]) -> str:
    """Return 64 hex digits that change when any of the facts (plain JSON types) does; their order does not count."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name next to ``path``, renamed to it at the end: whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
