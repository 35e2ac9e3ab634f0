"""Open pictures, zips and npz files that others made: what they state is checked before anything is unpacked."""

import math
import os
import stat
import struct
import tarfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple, cast

import numpy as np
from PIL import Image, features

from gancli.files import leaves, shown

# The formats that Pillow may try, whatever a file is called, and the endings of their files. Pillow knows forty more:
# its PostScript plugin starts another program.
FORMATS = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    **({"AVIF": (".avif",)} if "avif" in features.get_supported_modules() else {}),
}
GIB = 2**30
_BYTES = 8  # of a pixel while it is converted: four channels and a copy, or one int64
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zipfile unpacks others whole, whatever size they state

# What Pillow, NumPy and zipfile raise for damaged files; fuzzing triggers every one of these.
BROKEN = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError),
    *(AssertionError, RuntimeError, MemoryError, struct.error, zlib.error, zipfile.BadZipFile),
    tarfile.TarError,
    *(tokenize.TokenError, Image.DecompressionBombError),
)

_TAR_HEADER = 2**20  # bytes of a long name, or of the further facts of a member
_TAR_END = 2**20  # bytes that may follow the last member: zeros up to a whole block of a tape
_limit = 2.0  # GiB
Image.MAX_IMAGE_PIXELS = None  # `picture` has a limit of its own, which a key can raise


class Unreadable(ValueError):
    """A file that is damaged, too large or of another kind; the message is the reason, in a few words."""


def set_limit(gib: float) -> None:
    """Set how much memory one file from outside may ask for, in GiB: a picture, a member of a zip, an npz."""
    global _limit
    _limit = gib


def check_size(size: int, what: str) -> None:
    """Refuse ``size`` bytes above the limit; ``what`` begins the message. Raises Unreadable."""
    if size > _limit * GIB:
        raise Unreadable(
            f"{what} {size / GIB:.1f} GiB, and runtime.unpack_gib={_limit:g} is the limit: raise it if you trust it"
        )


def reason(error: BaseException) -> str:
    """Return why a file could not be read, in one line."""
    if isinstance(error, Image.UnidentifiedImageError):
        return f"no picture of the formats {', '.join(FORMATS)}"
    return getattr(error, "strerror", None) or one_line(error)


def one_line(error: BaseException) -> str:
    """Return the last line of an exception's message, at most 160 characters, or the name of its type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:160] if lines else type(error).__name__


@contextmanager
def refusing() -> Iterator[None]:
    """Turn what libraries raise for damaged files into Unreadable."""
    try:
        yield
    except Unreadable:
        raise
    except BROKEN as error:
        raise Unreadable(reason(error)) from error


def regular(path: str | Path) -> BinaryIO:
    """Open a regular file; a pipe or a device could be read for ever. Raises Unreadable."""
    with refusing():
        # Without O_NONBLOCK the opening of a pipe waits for its writer.
        descriptor = os.open(os.path.expanduser(path), os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            kind = "a folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "no regular file"
            os.close(descriptor)
            raise Unreadable(kind)
        return os.fdopen(descriptor, "rb")


@contextmanager
def picture(file: BinaryIO) -> Iterator[Image.Image]:
    """Yield a picture whose pixels are not decoded yet. Raises Unreadable, also for what its decoding raises."""
    with refusing(), Image.open(file, formats=tuple(FORMATS)) as image:
        width, height = image.size
        check_size(_BYTES * width * height, f"{width}x{height} pixels take")
        yield image


@contextmanager
def picture_file(path: str | Path) -> Iterator[Image.Image]:
    """As ``picture``, of a file that is named. Raises Unreadable."""
    with regular(path) as file, picture(file) as image:
        yield image


class Zip:
    """A zip archive whose members are unpacked in memory, one by one, and only as far as they state.

    Threads may share it. Raises Unreadable if the file is no zip.
    """

    def __init__(self, path: str | Path) -> None:
        self._file = regular(path)
        try:
            with refusing():
                self._zip = zipfile.ZipFile(self._file)
        except Unreadable:
            self._file.close()
            raise

    def __enter__(self) -> "Zip":
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def members(self) -> list[zipfile.ZipInfo]:
        """Return what the archive lists."""
        return self._zip.infolist()

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Yield a member, unpacked while it is read; read(n) never unpacks more than n bytes. Raises Unreadable."""
        with refusing():
            member = self._zip.getinfo(name)
            if member.flag_bits & 1:
                raise Unreadable("it is encrypted")
            if member.compress_type not in _METHODS:
                raise Unreadable("its compression is neither deflate nor none; pack it again")
            check_size(member.file_size, "it unpacks to")
            with self._zip.open(member) as file:
                yield file

    def read(self, name: str) -> bytes:
        """Return the bytes of a member; their CRC is checked. Raises Unreadable."""
        size = self._zip.getinfo(name).file_size
        with self.open(name) as file:
            data = file.read(size)  # without a size, zipfile would unpack all that is there
            if len(data) != size:
                raise Unreadable(f"it is cut short: {len(data)} bytes of {size}")
            return data


class Member(NamedTuple):
    """A file in a tar: its name, and the bytes that it occupies there."""

    name: str
    start: int
    size: int


class Tar:
    """An uncompressed tar, listed header by header, whose members are then read at their places.

    Threads may share it. Raises Unreadable if the file cannot be opened.
    """

    def __init__(self, path: str | Path) -> None:
        self._file = regular(path)
        self._bytes = os.fstat(self._file.fileno()).st_size

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def members(self) -> Iterator[Member]:
        """Yield its files in their order.

        Raises:
            Unreadable: it is damaged, cut short, compressed, or continued after its end; or it has a member that is
                neither a file nor a folder, or leads out of it.
        """
        with refusing(), tarfile.TarFile(fileobj=cast(IO[bytes], _Headers(self._file))) as archive:
            while (each := _next(archive)) is not None:
                archive.members = []  # type: ignore[attr-defined]  # it would keep them all
                if leaves(each.name):
                    raise Unreadable(f"its member {shown(each.name)!r} belongs to a place outside of it")
                if each.isdir():
                    continue
                if not each.isreg() or each.issparse():
                    kind = "a link" if each.issym() or each.islnk() else "no plain file"
                    raise Unreadable(f"its member {shown(each.name)!r} is {kind}")
                if each.offset_data + each.size > self._bytes:
                    raise Unreadable(f"it is cut short in {shown(each.name)!r}")
                yield Member(each.name, each.offset_data, each.size)
            self._check_end(archive.offset)

    def _check_end(self, at: int) -> None:
        """Refuse a tar that does not end where listing has; tarfile takes a damaged header for the end."""
        end = self.read(at, min(self._bytes - at, _TAR_END))
        if len(end) < tarfile.BLOCKSIZE:
            raise Unreadable("it is cut short: its end is missing")
        if any(end[: tarfile.BLOCKSIZE]):
            raise Unreadable(f"it is damaged at byte {at:,}")
        if any(end) or self._bytes - at > _TAR_END:
            raise Unreadable("more follows its end: were tars joined by cat? Pack it again")

    def read(self, start: int, size: int) -> bytes:
        """Return the bytes at a place. Raises Unreadable if the file ends before, or they are too many."""
        check_size(size, "it takes")
        with refusing():
            data = os.pread(self._file.fileno(), size, start)
        if len(data) != size:
            raise Unreadable(f"the tar is cut short: {len(data)} bytes of {size}")
        return data


def _next(archive: tarfile.TarFile) -> tarfile.TarInfo | None:
    try:
        return archive.next()
    except tarfile.ReadError as error:
        raise Unreadable(f"it is no tar, damaged or cut short ({error})") from None


class _Headers:
    """A tar as tarfile sees it, which reads no more than headers: one that states a size is not believed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _TAR_HEADER:
            raise Unreadable("one of its headers is too long")
        return self._file.read(size)


def npz(path: str | Path, *names: Sequence[str]) -> list[np.ndarray | None]:
    """Return arrays of an npz: of each sequence of names the first that is there, or None.

    Raises:
        Unreadable: the file is no npz or damaged, or the arrays are larger than the limit or hold Python objects.
    """
    with regular(path) as file:
        if file.read(6) == b"\x93NUMPY":
            raise Unreadable("a single array (.npy), whatever it is called; np.savez writes an npz")
    with Zip(path) as archive:
        members = {each.filename.removesuffix(".npy"): each for each in archive.members()}
        chosen = [next((members[name] for name in each if name in members), None) for each in names]
        check_size(sum(each.file_size for each in chosen if each), "its arrays unpack to")
        return [None if each is None else _array(archive, each.filename, each.file_size) for each in chosen]


def _array(archive: Zip, name: str, size: int) -> np.ndarray:
    """Return an array of an npz. Its header is compared with the size of its member before memory is asked for."""
    with archive.open(name) as file:
        version = np.lib.format.read_magic(file)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in readers:
            raise Unreadable(f"{name} is of an unknown version of the npy format")
        shape, fortran, dtype = readers[version](file)
        if dtype.hasobject or dtype.itemsize == 0:
            raise Unreadable(f"{name} holds {dtype}, not numbers")
        start, count = file.tell(), math.prod(shape)
        if min(shape, default=0) < 0 or count * dtype.itemsize != size - start:
            raise Unreadable(f"{name} is damaged: its size is not that of {dtype} {shape}")
    with archive.open(name) as file:
        file.read(start)
        data = np.empty(count, dtype)
        raw, at = data.view(np.uint8), 0
        while at < len(raw):
            part = file.read(min(len(raw) - at, 2**20))
            if not part:
                raise Unreadable(f"{name} is cut short")
            raw[at : at + len(part)] = np.frombuffer(part, np.uint8)
            at += len(part)
    return data.reshape(shape[::-1]).T if fortran else data.reshape(shape)
