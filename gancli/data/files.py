"""List and open the image files of a directory or a zip archive, without extracting it."""

import io
import os
import zipfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from gancli.errors import UsageError

EXTENSIONS = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp", ".avif", ".gif", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)


@dataclass(frozen=True)
class Entry:
    """One image file."""

    files: "Files"
    name: str  # relative to the root, with forward slashes
    size: int  # bytes as stored; -1 if the file cannot be read
    stamp: int  # changes with the content: mtime in ns, or the CRC-32 of a zip member

    def open(self) -> BinaryIO:
        return self.files.open(self.name)


class Asked(NamedTuple):
    """How a user names a folder of images, and what can be done about its faults there."""

    key: str = "data.root"
    sizes: str = "training requires a single size: add data.size=64"
    broken: str = "repair or remove them, or add data.on_error=skip"


DATA_ROOT = Asked()


class Files(ABC):
    """Read access to the images under one root. Hidden files and ``__MACOSX`` are ignored."""

    root: Path
    asked: Asked

    def __str__(self) -> str:
        return f"{self.asked.key}={self.root}"

    def entries(self) -> list[Entry]:
        """Return all images, sorted by name."""
        return sorted((entry for entry in self.listing() if _is_image(entry.name)), key=lambda entry: entry.name)

    def others(self) -> list[str]:
        """Return the names of all other files, sorted."""
        return sorted(entry.name for entry in self.listing() if not _is_image(entry.name))

    @abstractmethod
    def listing(self) -> list[Entry]:
        """Return all files that are not hidden."""

    @abstractmethod
    def open(self, name: str) -> BinaryIO: ...


class Directory(Files):
    def __init__(self, root: Path, asked: Asked = DATA_ROOT) -> None:
        self.root, self.asked = root, asked

    def listing(self) -> list[Entry]:
        try:
            return self._walk(self.root, "", frozenset())
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
                else:
                    try:
                        status = entry.stat()
                        found.append(Entry(self, name, status.st_size, status.st_mtime_ns))
                    except OSError:  # a dangling link is reported as unreadable rather than ignored
                        found.append(Entry(self, name, -1, 0))
        return found

    def open(self, name: str) -> BinaryIO:
        return open(self.root / name, "rb")


class Archive(Files):
    def __init__(self, root: Path, asked: Asked = DATA_ROOT) -> None:
        self.root, self.asked = root, asked
        try:
            # All threads share one handle: ZipFile locks the file position.
            self.zip = zipfile.ZipFile(root)
        except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
            raise UsageError(
                f"{self}: is a file, but not a zip that can be read ({one_line(error)}); "
                "allowed are a folder and a zip of images"
            ) from None
        except OSError as error:
            raise UsageError(f"{self}: cannot be read ({error.strerror}); check its permissions") from None

    def listing(self) -> list[Entry]:
        return [
            Entry(self, member.filename, member.compress_size, member.CRC)
            for member in self.zip.infolist()
            if not member.is_dir() and all(map(_visible, member.filename.split("/")))
        ]

    def open(self, name: str) -> BinaryIO:
        return io.BytesIO(self.zip.read(name))


def open_files(root: Path, asked: Asked = DATA_ROOT) -> Files:
    """Return a reader for a folder or a zip archive. Raises UsageError if ``root`` is neither."""
    if root.is_dir():
        return Directory(root, asked)
    if root.exists():
        return Archive(root, asked)
    key = asked.key
    raise UsageError(f"{key}={root}: no such folder or zip; name a folder or zip of images: {key}=~/my-images")


def one_line(error: BaseException) -> str:
    """Return the last line of an exception's message, at most 160 characters, or the name of its type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:160] if lines else type(error).__name__


def _is_image(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS)


def _visible(part: str) -> bool:
    return not part.startswith(".") and part != "__MACOSX"
