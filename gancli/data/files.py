"""List and open the image files of a directory or a zip archive, without extracting it."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from gancli.data import untrusted
from gancli.data.untrusted import FORMATS, Unreadable, one_line
from gancli.errors import UsageError
from gancli.files import leaves, shown

EXTENSIONS = tuple(ending for endings in FORMATS.values() for ending in endings)

__all__ = ["EXTENSIONS", "Entry", "Files", "one_line", "open_files"]


@dataclass(frozen=True)
class Entry:
    """One image file."""

    files: "Files"
    name: str  # relative to the root, with forward slashes
    size: int  # bytes as stored; -1 if the file cannot be read
    stamp: int  # changes with the content: mtime in ns, or the CRC-32 of a zip member

    @contextmanager
    def picture(self) -> Iterator[Image.Image]:
        """Yield the picture, which is decoded in the ``with`` block. Raises Unreadable, there as well."""
        with self.files.open(self.name) as file, untrusted.picture(file) as image:
            yield image


class Files(ABC):
    """Read access to the images under one root. Hidden files, ``__MACOSX`` and files of other types are ignored."""

    root: Path

    @abstractmethod
    def entries(self) -> list[Entry]:
        """Return all images, sorted by name."""

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """Open an image file. Raises Unreadable."""


class Directory(Files):
    def __init__(self, root: Path) -> None:
        self.root = root

    def entries(self) -> list[Entry]:
        try:
            return sorted(self._walk(self.root, "", frozenset()), key=lambda entry: entry.name)
        except OSError as error:
            where = error.filename or self.root
            raise UsageError(f"{where}: cannot be listed ({error.strerror}); check its permissions") from None

    def _walk(self, path: Path | str, prefix: str, above: frozenset) -> list[Entry]:
        status = os.stat(path)
        here = (status.st_dev, status.st_ino)
        if here in above:  # a symbolic link to one of its parents
            return []
        found = []
        with os.scandir(path) as children:
            for entry in children:
                name = prefix + entry.name
                if not _visible(entry.name):
                    continue
                if entry.is_dir():
                    found += self._walk(entry.path, name + "/", above | {here})
                elif entry.name.lower().endswith(EXTENSIONS):
                    try:
                        status = entry.stat()
                        found.append(Entry(self, name, status.st_size, status.st_mtime_ns))
                    except OSError:  # a dangling link is reported as unreadable rather than ignored
                        found.append(Entry(self, name, -1, 0))
        return found

    def open(self, name: str) -> BinaryIO:
        return untrusted.regular(self.root / name)


class Archive(Files):
    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def zip(self) -> untrusted.Zip:
        """The open archive, which all threads share. Raises Unreadable."""
        return untrusted.Zip(self.root)

    def entries(self) -> list[Entry]:
        pictures = [each for each in self.zip.members() if each.filename.lower().endswith(EXTENSIONS)]
        if out := next((each.filename for each in pictures if leaves(each.filename)), None):
            raise UsageError(f"{self.root}: its member {shown(out)!r} belongs to a place outside of it; pack it again")
        members = [each for each in pictures if all(map(_visible, each.filename.split("/")))]
        found = {each.filename: Entry(self, each.filename, each.compress_size, each.CRC) for each in members}
        if len(found) < len(members):
            names = [each.filename for each in members]
            twice = next(name for name in found if names.count(name) > 1)
            raise UsageError(f"{self.root}: two of its members are called {shown(twice)}; pack it again")
        return [found[name] for name in sorted(found)]

    def open(self, name: str) -> BinaryIO:
        return BytesIO(self.zip.read(name))


def open_files(root: Path, key: str = "data.root") -> Files:
    """Return a reader for a folder or a zip archive; ``key`` is what the user typed it for.

    Raises:
        UsageError: ``root`` is neither, or cannot be read.
    """
    if os.path.isdir(root):
        return Directory(root)
    if not os.path.lexists(root):  # nor can a name be there that is too long
        example = ": data.root=~/my-images" if key == "data.root" else ""
        raise UsageError(f"{key}={root}: no such folder or zip; name a folder or zip of images{example}")
    archive = Archive(root)
    try:
        _ = archive.zip
    except Unreadable as error:
        raise UsageError(
            f"{key}={root}: is a file, but not a zip that can be read ({error}); "
            "allowed are a folder and a zip of images"
        ) from None
    return archive


def _visible(part: str) -> bool:
    return not part.startswith(".") and part != "__MACOSX"
