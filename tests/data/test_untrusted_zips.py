"""Zips of strangers and the names in them: what is damaged, states too much or would land elsewhere."""

import io
import os
import struct
import zipfile
from pathlib import Path

import pytest
from pictures import numbers, write
from PIL import Image
from strangers import ENTRANCES, png, refused, translated, zipped

from gancli.data import untrusted
from gancli.data.digits import Digits
from gancli.data.folder import FolderImages
from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.pix2pix import Pix2Pix
from gancli.views.base import RunData
from gancli.views.pictures import check_names
from gancli.views.translation import Translations

pytestmark = pytest.mark.usefixtures("fresh_reader")


def encrypted(path: Path) -> Path:
    """Set the bit that says so; what follows is then taken for ciphertext."""
    data = bytearray(zipped(path, {"a.png": png(8, 8, bytes(200))}).read_bytes())
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(mark) + at] |= 1
    path.write_bytes(data)
    return path


def flipped(path: Path) -> Path:
    """Change a byte of a stored member, so that only its CRC can tell."""
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "BMP")
    data = bytearray(zipped(path, {"a.bmp": picture.getvalue()}, zipfile.ZIP_STORED).read_bytes())
    data[150] ^= 1
    path.write_bytes(data)
    return path


def lying(path: Path) -> Path:
    """State 10 bytes where 64 MiB are packed."""
    data = zipped(path, {"a.png": bytes(2**26)}).read_bytes()
    path.write_bytes(data.replace(struct.pack("<I", 2**26), struct.pack("<I", 10)))
    return path


ZIPS = {
    "encrypted": (encrypted, "a.png: it is encrypted"),
    "CRC": (flipped, "a.bmp: Bad CRC-32"),
    "lying": (lying, "a.png: (Bad CRC-32|no picture)"),
    "bzip2": (lambda path: zipped(path, {"a.png": bytes(10)}, zipfile.ZIP_BZIP2), "neither deflate nor none"),
    "twice": (None, "two of its members are called a.png; pack it again"),
    "cut": (None, "not a zip"),
    "no zip": (lambda path: (path.write_bytes(b"x" * 99), path)[1], "not a zip"),
    "pipe": (lambda path: (os.mkfifo(path), path)[1], "no regular file"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("kind", ZIPS)
def test_bad_zips_are_one_line_wherever_they_come_from(tmp_path, kind, entrance) -> None:
    make, says = ZIPS[kind]
    path = tmp_path / "in.zip"
    if kind == "twice":
        with zipfile.ZipFile(path, "w") as archive:
            for _ in range(2):
                archive.writestr("a.png", png(8, 8, bytes(200)))
    elif kind == "cut":
        path.write_bytes(zipped(path, {"a.png": png(8, 8, bytes(200))}).read_bytes()[:-30])
    else:
        make(path)
    refused(lambda: ENTRANCES[entrance](path), says)


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_members_that_state_too_much_are_not_unpacked(tmp_path, entrance, monkeypatch) -> None:
    path = zipped(tmp_path / "in.zip", {"a.png": bytes(2**22)})
    untrusted.set_limit(2**21 / 2**30)
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda *_: pytest.fail("it was unpacked"))
    refused(lambda: ENTRANCES[entrance](path), "a.png: it unpacks to 0.0 GiB, and runtime.unpack_gib=0.00195312")


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("name", ["/tmp/slipped.png", "../../slipped.png", "a/../../slipped.png", "//x.png"])
def test_zips_with_members_outside_of_them_are_refused(tmp_path, name, entrance) -> None:
    good = write(tmp_path / "in", "good.png", size=(16, 16)) / "good.png"
    path = zipped(tmp_path / "in.zip", {"good.png": good.read_bytes(), name: good.read_bytes()})
    refused(lambda: ENTRANCES[entrance](path), "its member .* belongs to a place outside of it; pack it again")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("x" * 300 + ".png", "at most 255 bytes"),
        ("x" * 252 + ".jpg/a.png", "at most 255 bytes"),
        ("good.png/b.png", "good.png would be a file and the folder of"),
        ("good.jpg/b.png", None),
        ("good.gif", None),
    ],
)
def test_names_of_members_are_looked_at_before_the_first_is_written(tmp_path, name, says) -> None:
    good = write(tmp_path / "in", "good.png", size=(16, 16)) / "good.png"
    path = zipped(tmp_path / "in.zip", {"d/good.png": good.read_bytes(), "d/" + name: good.read_bytes()})
    if says:
        refused(lambda: translated(path), says)
    else:
        translated(path)


@pytest.mark.parametrize("names", [["a\nb/x.png", "c.png"], ["a\x1b[2J.png", "b.png"], ["a\nb.png", "b.png"]])
def test_names_with_control_characters_stay_on_one_line(tmp_path, names) -> None:
    good = (write(tmp_path / "in", "good.png", size=(16, 16)) / "good.png").read_bytes()
    path = zipped(tmp_path / "in.zip", {names[0]: good if "/" in names[0] else b"x", names[1]: good})
    with pytest.raises(UsageError) as error:
        FolderImages(str(path)).split("train")
    assert str(error.value).isprintable()


def test_a_picture_may_not_become_the_folder_of_another(tmp_path) -> None:
    good = (write(tmp_path / "in", "good.png", size=(16, 16)) / "good.png").read_bytes()
    path = zipped(tmp_path / "in.zip", {"a.jpg": good, "a.png/b.jpg": good})
    refused(lambda: translated(path), "a.png would be a file and the folder of a.png/b.png; rename one")


@pytest.mark.parametrize(
    ("names", "written"),
    [
        (["a.png", "a.jpg"], ["a.png.png", "a.jpg.png"]),
        (["a.png", "a.jpg", "a.jpg.png"], ["a.png.png", "a.jpg.png", "a.jpg.png.png"]),
        (["a.bmp.png", "a.bmp", "b.png"], ["a.bmp.png.png", "a.png", "b.png"]),
        (["s/a.png", "a.png", "s.png"], ["s/a.png", "a.png", "s.png"]),
    ],
)
def test_every_source_has_a_file_of_its_own(tmp_path, names, written) -> None:
    root = write(tmp_path / "in", *names, size=(16, 16))
    model = Pix2Pix(ImageSpec(3, 16, 16, source_channels=3, paired=True), width=4, discriminator_width=4)
    drawn = Translations(str(root)).draw(model.eval(), RunData(Digits), n=1, seed=0, batch_size=1)
    check_names(tmp_path / "out", drawn)
    assert sorted(f"{name}.png" for name in drawn[""].names) == sorted(written)


def test_pictures_that_the_network_cannot_take_are_named_before_the_first_is_drawn(tmp_path, monkeypatch) -> None:
    root = write(tmp_path / "in", *numbers(3), size=(16, 16))
    write(root, "tiny.png", size=(4, 30))
    (root / "bad.png").write_text("x")
    monkeypatch.setattr(Pix2Pix, "translate", lambda *_: pytest.fail("one was drawn"))
    refused(lambda: translated(root), "2 of 5 pictures cannot be translated .bad.png: .*; tiny.png: .*too small")
