"""Atomic writes, where files may land, hashes, and the cache folder, which may be deleted at any time."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from gancli.errors import UsageError

TEMPORARY = ".tmp"  # suffix of unfinished files, which a killed process leaves behind
LOCK = ".lock"  # exists in a folder while a process writes into it
UNFINISHED = ".unfinished.tmp"  # folder in a folder of results, which holds them until they are complete
LONGEST = 255  # bytes of a file's name that common file systems take
SHORT = 60  # bytes of a value in the name of a folder


def cache_dir() -> Path:
    """Return the cache folder for decoded data, classifiers and statistics: $GANCLI_CACHE or ~/.cache/gancli."""
    return Path(os.environ.get("GANCLI_CACHE") or "~/.cache/gancli").expanduser()


def digest(facts: Mapping[str, object]) -> str:
    """Return a SHA-256 of the facts (plain JSON types) as 64 hex digits, independent of their order."""
    import hashlib  # here and below, so that the help answers at once

    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits. Raises OSError."""
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_empty(folder: Path) -> None:
    """Refuse a file, or a folder that holds files other than those that a killed process left unfinished.

    Raises:
        UsageError: it is one of them.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, and nothing is overwritten; choose a folder with out=...")
    if folder.exists() and {each.name for each in folder.iterdir()} - {LOCK, UNFINISHED}:
        raise UsageError(f"{folder} is not empty, and nothing is overwritten; choose another folder with out=...")


def shown(name: str) -> str:
    """Return a name from outside as a message may show it: on one line, without control characters, not endless."""
    text = name if name.isprintable() else name.encode("unicode_escape", "backslashreplace").decode()
    return text if len(text) <= 100 else f"{text[:60]}...{text[-30:]}"


def short(text: str) -> str:
    """Return the beginning of a text, at most SHORT bytes, as a part of a folder's name."""
    return text.encode("utf-8", "surrogateescape")[:SHORT].decode("utf-8", "ignore")


def leaves(name: str) -> bool:
    """Tell whether a name is none of a file below a folder: absolute, with ``..``, or empty."""
    parts = PurePosixPath(name).parts
    return not parts or parts[0].startswith("/") or ".." in parts or "\0" in name


def inside(folder: Path, name: str) -> Path:
    """Return where a name lands below a folder, if that is below it.

    Every name that comes from outside (a member of a zip, a file of someone else's folder, a part of a run folder that
    may be someone else's) is asked for here before anything is written. Nothing is made or changed.

    Args:
        folder: the user's own choice; it may be a link itself.
        name: relative, with forward slashes.

    Raises:
        UsageError: the name is absolute, leads upwards or through a link out of the folder, or is too long for a file.
    """
    if leaves(name):
        raise UsageError(f"{shown(name)!r} names no file below {folder}, and nothing is written elsewhere; rename it")
    for part in PurePosixPath(name).parts:
        if len(part.encode("utf-8", "surrogatepass")) > LONGEST:
            raise UsageError(f"{shown(part)}: names of files have at most {LONGEST} bytes; rename it")
    path = folder / name
    try:
        leads = path.resolve()
        circle = any(each.is_symlink() for each in (leads, *leads.parents))  # from Python 3.13 on nothing is raised
    except (OSError, RuntimeError):
        circle = True
    if circle:
        raise UsageError(f"{path} is a link to itself; remove it")
    if not leads.is_relative_to(folder.resolve()):
        raise UsageError(f"{path} leads to {leads}, out of {folder}, and nothing is written there; remove that link")
    return path


def all_inside(folder: Path, names: Sequence[str]) -> None:
    """Refuse files of these names as a whole if one of them cannot be written below a folder, or hides another.

    Raises:
        UsageError: as ``inside``; two names are equal; or a name is a folder of another one.
    """
    seen: set[str] = set()
    for name in (str(PurePosixPath(each)) for each in names):  # a//b is a/b
        inside(folder, name)
        if name in seen:
            raise UsageError(f"two files would be called {shown(name)}; rename one of their sources")
        seen.add(name)
    for name in seen:
        for parent in PurePosixPath(name).parents:
            if str(parent) in seen:
                raise UsageError(f"{shown(str(parent))} would be a file and the folder of {shown(name)}; rename one")


def output_folder(typed: str | None, run: Path, usual: str) -> Path:
    """Return the folder that results go to: the one that was typed, or the usual one below a run folder.

    Raises:
        UsageError: it lies in the run folder, which may be someone else's, and links there lead out of it.
    """
    path = Path(typed).expanduser() if typed else run / usual
    below = os.path.relpath(path, run)
    if not leaves(below):
        inside(run, below)
    return path


def refuse_links(folder: Path) -> None:
    """Refuse a folder that is written into if a link anywhere in it leads out of it. Raises UsageError."""
    for parent, folders, files in os.walk(folder):
        for each in (*folders, *files):
            path = os.path.join(parent, each)
            if os.path.islink(path):
                inside(folder, os.path.relpath(path, folder))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to ``path``; on exit the file is synced to disk and renamed to ``path``.

    A crash at any moment leaves the old file or the new one. Raises OSError if the disk is full or not writable; the
    temporary file is then removed and the old one untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Nobody can guess this name and put a link there; it is no longer than any other's.
    temporary = path.with_name(f".{os.urandom(8).hex()}{TEMPORARY}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())  # otherwise a power cut could leave an empty file under the new name
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is not None and (error.filename is None or Path(error.filename) == temporary):
            error.filename = str(path)  # a full disk names no file, and nobody knows the temporary one
        raise
    finally:
        temporary.unlink(missing_ok=True)
