"""List and open the image files of a directory or a zip archive, without extracting it."""

import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, ClassVar, NamedTuple

from PIL import Image

from gancli.data import untrusted
from gancli.data.keys import chosen, prefix
from gancli.data.untrusted import FORMATS, Unreadable, one_line
from gancli.errors import UsageError
from gancli.files import leaves, shown

LABELS = "dataset.json"  # of StyleGAN2-ADA's and later dataset_tool.py
EXTENSIONS = tuple(ending for endings in FORMATS.values() for ending in endings)

__all__ = ["EXTENSIONS", "Entry", "Files", "one_line", "open_files"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One image file."""

    files: "Reader"
    name: str  # relative to the root, with forward slashes
    size: int  # bytes as stored; -1 if the file cannot be read
    stamp: int  # changes with the content: mtime in ns, or the CRC-32 of a zip member
    place: int = 0  # where it begins in what holds it, in bytes or rows; unused by files that are found by name

    @contextmanager
    def picture(self) -> Iterator[Image.Image]:
        """Yield the picture, which is decoded in the ``with`` block. Raises Unreadable, there as well."""
        with self.files.read(self) as file, untrusted.picture(file) as image:
            yield image


class Asked(NamedTuple):
    """How a user names a folder of images, and what can be done about its faults there.

    In its texts, ``{node}`` is the node of the data set, ``data`` or ``data.a``, and ``{group}`` its group.
    """

    key: str = "{node}.root"
    sizes: str = "training requires a single size: add {node}.size=64"
    broken: str = "repair or remove them, or add {node}.on_error=skip"
    layout: str = "{node}.layout"  # empty: no such key can be typed for it
    depth: str = "{node}.bit_depth"  # likewise
    trained: bool = True  # it is data to train on, which must hold some of every class

    def here(self) -> "Asked":
        """Return the texts for the data set that is built or read now."""
        names = {"node": prefix(), "group": chosen().rstrip("=")}
        return Asked(
            self.key.format(**names), self.sizes.format(**names), self.broken.format(**names),
            self.layout.format(**names), self.depth.format(**names), self.trained,
        )  # fmt: skip


DATA_ROOT = Asked()


class Reader(ABC):
    """Read access to the images of one root, whatever it is."""

    root: Path
    asked: Asked
    loose: ClassVar[bool] = False  # whether each image is a file of its own below the root

    def __str__(self) -> str:
        return f"{self.asked.key}={self.root}"

    @abstractmethod
    def read(self, entry: Entry) -> BinaryIO:
        """Open an image file. Raises Unreadable."""

    def names(self) -> list[str]:
        """Return what is known of the images without listing them. Raises UsageError."""
        return [str(self.root)]

    @abstractmethod
    def stands_on(self) -> list[Path]:
        """Return the folders and archives whose changes mean that the images have to be listed again."""


class Files(Reader):
    """Images that have names in folders or a zip. Hidden files and ``__MACOSX`` are ignored."""

    def found(self) -> tuple[list[Entry], list[str]]:
        """Return all images, sorted by name, and the names of all other files, sorted."""
        listed = self.listing()
        images = sorted((entry for entry in listed if _is_image(entry.name)), key=lambda entry: entry.name)
        return images, sorted(entry.name for entry in listed if not _is_image(entry.name))

    def entries(self) -> list[Entry]:
        """Return all images, sorted by name."""
        return self.found()[0]

    def others(self) -> list[str]:
        """Return the names of all other files, sorted."""
        return self.found()[1]

    @abstractmethod
    def listing(self) -> list[Entry]:
        """Return all files that are not hidden."""

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """Open a file by its name. Raises Unreadable."""

    def read(self, entry: Entry) -> BinaryIO:
        return self.open(entry.name)


class Directory(Files):
    loose = True

    def __init__(self, root: Path, asked: Asked = DATA_ROOT) -> None:
        self.root, self.asked = root, asked.here()
        self.folders: list[Path] = []  # that were walked through, and files of labels

    def listing(self) -> list[Entry]:
        self.folders = []
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
        self.folders.append(Path(path))
        found = []
        with os.scandir(path) as children:
            for entry in children:
                name = prefix + entry.name
                if not _visible(entry.name):
                    continue
                if entry.name == LABELS:
                    self.folders.append(Path(entry.path))
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
        return untrusted.regular(self.root / name)

    def stands_on(self) -> list[Path]:
        return self.folders


class Archive(Files):
    def __init__(self, root: Path, asked: Asked = DATA_ROOT) -> None:
        self.root, self.asked = root, asked.here()

    @cached_property
    def zip(self) -> untrusted.Zip:
        """The open archive, which all threads share. Raises Unreadable."""
        return untrusted.Zip(self.root)

    def listing(self) -> list[Entry]:
        members = [
            each for each in self.zip.members() if not each.is_dir() and all(map(_visible, each.filename.split("/")))
        ]
        pictures = [each.filename for each in self.zip.members() if _is_image(each.filename)]
        if out := next((name for name in pictures if leaves(name)), None):
            raise UsageError(f"{self.root}: its member {shown(out)!r} belongs to a place outside of it; pack it again")
        found = {each.filename: Entry(self, each.filename, each.compress_size, each.CRC) for each in members}
        if twice := next((name for name, n in Counter(pictures).items() if n > 1), None):
            raise UsageError(f"{self.root}: two of its members are called {shown(twice)}; pack it again")
        return list(found.values())

    def open(self, name: str) -> BinaryIO:
        return BytesIO(self.zip.read(name))

    def stands_on(self) -> list[Path]:
        return [self.root]


def open_files(root: Path, asked: Asked = DATA_ROOT) -> Files:
    """Return a reader for a folder or a zip archive; ``asked`` is what the user typed it for.

    Raises:
        UsageError: ``root`` is neither, or cannot be read.
    """
    if os.path.isdir(root):
        return Directory(root, asked)
    if not os.path.lexists(root):  # nor can a name be there that is too long
        key = asked.here().key
        example = f": {key}=~/my-images" if asked == DATA_ROOT else ""
        raise UsageError(f"{key}={root}: no such folder or zip; name a folder or zip of images{example}")
    archive = Archive(root, asked)
    try:
        _ = archive.zip
    except Unreadable as error:
        raise UsageError(
            f"{archive}: is a file, but not a zip that can be read ({error}); allowed are a folder and a zip of images"
        ) from None
    return archive


def _is_image(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS)


def _visible(part: str) -> bool:
    return not part.startswith(".") and part != "__MACOSX"
