"""Pictures of strangers: damaged, hostile, endless, or of which 16 bits hold few.

What a damaged or hostile file is refused for is the same in every command, as all read it by the same functions.
"""

import io
import os

import numpy as np
import pytest
from helpers import compose
from pictures import numbers, write
from PIL import Image
from strangers import ENTRANCES, png, refused, zipped

from gancli.data import untrusted
from gancli.data.folder import FolderImages
from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.training.runtime import Runtime
from gancli.views.completion import missing_part, read_picture

pytestmark = pytest.mark.usefixtures("fresh_reader")


def postscript() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "EPS")
    return buffer.getvalue()


def tga() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "TGA")
    return buffer.getvalue()


PICTURES = {
    "bomb": (lambda: png(60_000, 60_000), "60000x60000 pixels take 26.8 GiB, and runtime.unpack_gib=2 is the limit"),
    "wide bomb": (lambda: png(2**31 - 1, 1), "the limit"),
    "postscript": (postscript, "no picture of the formats PNG"),
    "another plugin": (tga, "no picture of the formats PNG"),
    "text": (lambda: b"no picture", "no picture of the formats PNG"),
    "empty": (lambda: b"", "no picture of the formats PNG"),
    "cut": (lambda: png(40, 40, os.urandom(40 * 121))[:900], ""),
}


@pytest.mark.parametrize("zip_", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("kind", PICTURES)
def test_bad_pictures_are_named_in_one_line_wherever_they_come_from(tmp_path, kind, entrance, zip_) -> None:
    make, says = PICTURES[kind]
    root = write(tmp_path / "in", *numbers(4), size=(16, 16))
    (root / "odd.png").write_bytes(make())
    if zip_:
        root = zipped(tmp_path / "in.zip", {file.name: file.read_bytes() for file in root.iterdir()})
    refused(lambda: ENTRANCES[entrance](root), f"1 of 5.*odd.png: .*{says}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", PICTURES)
def test_bad_pictures_as_images_and_masks_of_completions(tmp_path, kind) -> None:
    make, says = PICTURES[kind]
    (tmp_path / "odd.png").write_bytes(make())
    refused(lambda: read_picture(str(tmp_path / "odd.png"), 1, "image"), f"image=.*odd.png cannot be read.*{says}")
    refused(lambda: missing_part(str(tmp_path / "odd.png"), ImageSpec(1, 8, 8)), f"mask=.*odd.png cannot.*{says}")
    (tmp_path / "folder.png").mkdir()
    refused(lambda: read_picture(str(tmp_path / "folder.png"), 1, "image"), "a folder|directory")
    refused(lambda: missing_part("x" * 300, ImageSpec(1, 8, 8)), "allowed are bottom")
    refused(lambda: read_picture("x" * 300, 1, "image"), "cannot be read")


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_endless_files_do_not_hang(tmp_path, entrance) -> None:
    root = write(tmp_path / "in", *numbers(3), size=(16, 16))
    os.mkfifo(root / "pipe.png")
    os.symlink("/dev/zero", root / "zero.png")
    refused(lambda: ENTRANCES[entrance](root), "no regular file")
    refused(lambda: ENTRANCES[entrance](tmp_path / ("x" * 300)), "no such folder")


def test_the_limit_is_a_key_and_concerns_the_stated_size(tmp_path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(3):
        (tmp_path / "in" / f"{i}.png").write_bytes(png(2000, 1000, bytes(1000 * 6001)))
    Runtime.from_config(compose("train", ["runtime=cpu", "runtime.unpack_gib=0.01"]).runtime)
    refused(lambda: FolderImages(str(tmp_path / "in"), size=8).split("train"), "runtime.unpack_gib=0.01 is the limit")
    Runtime.from_config(compose("train", ["runtime=cpu", "runtime.unpack_gib=0.02"]).runtime)
    assert len(FolderImages(str(tmp_path / "in"), size=8, test=0, validation=0).split("train")) == 3
    assert Runtime.from_config(compose("eval", ["runtime=cpu", "ckpt=x"]).runtime) and untrusted._limit == 2
    with pytest.raises(UsageError, match="unpack_gib=0.*above 0"):
        compose("sample", ["ckpt=x", "runtime.unpack_gib=0"])


def deep(level: int, kind: int = 0) -> bytes:
    """A 16-bit PNG of 8x8 pixels, grey (0) or in colour (2), whose brightest value is ``level``."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[kind]
    rows = np.full((8, 8 * channels), level, ">u2")
    return png(8, 8, b"".join(b"\0" + row.tobytes() for row in rows), 16, kind)


@pytest.mark.parametrize("kind", [0, 2])
@pytest.mark.parametrize(("level", "share"), [(255, "0.78|0.39"), (4095, "6.6|6.2"), (32000, "49"), (65535, None)])
def test_sixteen_bits_of_which_a_part_is_used_are_said(tmp_path, caplog, kind, level, share) -> None:
    (tmp_path / "in").mkdir()
    for i in range(4):
        (tmp_path / "in" / f"{i}.png").write_bytes(deep(level if i == 0 else level // 2, kind))
    write(tmp_path / "in", "plain.png", mode="L" if kind == 0 else "RGB")
    calls = [lambda: FolderImages(str(tmp_path / "in")).split("train")] * 2  # decoded, then cached
    if level < 40000:
        calls.append(lambda: read_picture(str(tmp_path / "in" / "0.png"), 1, "image"))
    for call in calls:
        caplog.clear()
        call()
        said = [record.message for record in caplog.records if "16-bit" in record.message]
        assert len(said) == (share is not None)
        assert share is None or any(f"at most {each} % of their range" in said[0] for each in share.split("|"))
