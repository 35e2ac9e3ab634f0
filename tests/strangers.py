"""Pictures and zips as strangers may send them, and the ways in by which commands read them."""

import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from gancli.data import pictures
from gancli.data.digits import Digits
from gancli.data.folder import FolderImages
from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.pix2pix import Pix2Pix
from gancli.views.base import RunData
from gancli.views.pictures import check_names
from gancli.views.translation import Translations


def png(width: int, height: int, data: bytes = b"", depth: int = 8, kind: int = 2) -> bytes:
    """A PNG that states a size, whatever its data are."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def translated(source: Path) -> None:
    """Draw translations of a source, as ``gancli sample source=`` does, to the point where files would be written."""
    model = Pix2Pix(ImageSpec(3, 16, 16, source_channels=3, paired=True), width=4, discriminator_width=4)
    drawn = Translations(str(source)).draw(model.eval(), RunData(Digits), n=1, seed=0, batch_size=1)
    check_names(source.parent / "out", drawn)
    assert drawn[""].raw is not None
    list(drawn[""].raw)


ENTRANCES: dict[str, Callable[[Path], object]] = {
    "data=folder": lambda path: FolderImages(str(path), size=8).split("train"),
    "eval images=": lambda path: pictures.read(str(path), Digits().split("test")),
    "sample source=": translated,
}


def zipped(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def refused(call: Callable[[], object], says: str) -> None:
    with pytest.raises(UsageError, match=says) as error:
        call()
    assert "\n" not in str(error.value) and len(str(error.value)) < 900
