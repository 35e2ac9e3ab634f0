"""Pictures, zips and npz files of strangers: ``pytest tests/data/test_untrusted.py``.

What a damaged or hostile file is refused for is the same in every command, as all read it by the same functions.
"""

import ast
import bz2
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from helpers import compose
from pictures import numbers, write
from PIL import Image

from gancli.data import pictures, untrusted
from gancli.data.digits import Digits
from gancli.data.folder import FolderImages
from gancli.data.spec import ImageSpec
from gancli.data.untrusted import Unreadable
from gancli.errors import UsageError
from gancli.models.pix2pix import Pix2Pix
from gancli.training.runtime import Runtime
from gancli.views.base import RunData
from gancli.views.completion import missing_part, read_picture
from gancli.views.pictures import check_names
from gancli.views.translation import Translations

PACKAGE = ROOT / "gancli"


@pytest.fixture(autouse=True)
def _own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("GANCLI_CACHE", str(tmp_path / "cache"))
    yield
    untrusted.set_limit(2)


def png(width: int, height: int, data: bytes = b"", depth: int = 8, kind: int = 2) -> bytes:
    """A PNG that states a size, whatever its data are."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


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
def test_endless_files_do_not_hang(tmp_path, entrance) -> None:
    root = write(tmp_path / "in", *numbers(3), size=(16, 16))
    os.mkfifo(root / "pipe.png")
    os.symlink("/dev/zero", root / "zero.png")
    refused(lambda: ENTRANCES[entrance](root), "no regular file")
    refused(lambda: ENTRANCES[entrance](tmp_path / ("x" * 300)), "no such folder")


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


# npz


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def swollen() -> bytes:
    """An array whose header states 800 TB."""
    return npy(np.zeros(10, np.uint8)).replace(b"(10,), }            ", b"(800000000000000,), }")[: 128 + 10]


NPZS = {
    "npy": (lambda path: path.write_bytes(npy(np.zeros((4, 8, 8, 1), np.uint8))), r"a single array \(.npy\)"),
    "text": (lambda path: path.write_text("mu sigma"), "not a zip"),
    "empty": (lambda path: path.write_bytes(b""), "not a zip"),
    "pickle": (lambda path: np.savez(path, images=np.array([{}]), mu=np.array([{}])), "holds object, not numbers"),
    "swollen": (lambda path: zipped(path, {"images.npy": swollen(), "mu.npy": swollen()}), "is damaged: its size"),
    "cut": (lambda path: zipped(path, {f"{n}.npy": npy(np.zeros(9))[:-8] for n in ("images", "mu")}), "is damaged"),
    "header": (lambda path: zipped(path, {f"{n}.npy": b"\x93NUMPY\1\0\4\0{{{{" for n in ("images", "mu")}), "."),
    "pipe": (os.mkfifo, "no regular file"),
    "folder": (os.mkdir, "a folder|no images in it"),
}


@pytest.mark.parametrize("kind", NPZS)
def test_bad_npz_files_are_one_line(tmp_path, kind) -> None:
    make, says = NPZS[kind]
    path = tmp_path / "x.npz"
    make(path)
    with pytest.raises(Unreadable, match=None if kind == "folder" else says) as error:
        untrusted.npz(path, ["images"], ["mu"])
    assert "\n" not in str(error.value)
    refused(lambda: pictures.read(str(path), Digits().split("test")), says)


def test_a_changed_byte_of_an_npz_is_noticed(tmp_path) -> None:
    images = np.random.RandomState(0).randint(0, 256, (20, 8, 8, 1), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images=images)
    data = bytearray((tmp_path / "x.npz").read_bytes())
    data[700] ^= 16
    (tmp_path / "x.npz").write_bytes(data)
    refused(lambda: pictures.read(str(tmp_path / "x.npz"), Digits().split("test")), "Bad CRC-32")


def test_the_arrays_of_an_npz_are_measured_together_before_they_are_unpacked(tmp_path, monkeypatch) -> None:
    np.savez_compressed(tmp_path / "x.npz", a=np.zeros(2**20), b=np.zeros(2**20), other=np.zeros(2**20))
    untrusted.set_limit(17 * 2**20 / 2**30)
    assert [each.shape for each in untrusted.npz(tmp_path / "x.npz", ["a"], ["none", "b"])] == [(2**20,), (2**20,)]
    untrusted.set_limit(15 * 2**20 / 2**30)
    assert untrusted.npz(tmp_path / "x.npz", ["a"], ["none"])[1] is None
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda *_: pytest.fail("it was unpacked"))
    with pytest.raises(Unreadable, match="its arrays unpack to 0.0 GiB"):
        untrusted.npz(tmp_path / "x.npz", ["a"], ["b"])


@pytest.mark.parametrize("array", [np.asfortranarray(np.arange(12).reshape(3, 4)), np.array(3.5), np.zeros((0, 3))])
def test_arrays_come_as_numpy_reads_them(tmp_path, array) -> None:
    np.savez_compressed(tmp_path / "x.npz", a=array)
    (found,) = untrusted.npz(tmp_path / "x.npz", ["a"])
    assert np.array_equal(found, array) and found.dtype == array.dtype and found.shape == array.shape


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([0, 1, 2, 10], "between 0 and 10, and the data have the classes 0 to 9"),
        ([0, 1, -1, 3], "between -1 and 3"),
        ([0, 1.5, 2, 3], "no whole numbers"),
        ([0, 1, np.nan, 3], "no whole numbers"),
        ([0, np.inf, 1, 3], "between 0 and inf"),
        (list("abcd"), "no whole numbers"),
        ([1 + 0j, 2, 3, 4], "no whole numbers"),
        ([[0, 1], [1, 0], [1, 0], [1, 0]], "one per image"),
    ],
)
def test_labels_are_numbers_of_classes(tmp_path, labels, says) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((4, 8, 8, 1), np.uint8), labels=np.array(labels))
    refused(lambda: pictures.read(str(tmp_path / "x.npz"), Digits().split("test")), says)
    np.savez(tmp_path / "x.npz", images=np.zeros((4, 8, 8, 1), np.uint8), labels=np.array([0.0, 9, 3, 1]))
    assert sorted(pictures.read(str(tmp_path / "x.npz"), Digits().split("test")).labels) == [0, 1, 3, 9]


@pytest.mark.parametrize("shape", [(0, 8, 8, 1), (3, 0, 8, 1)])
def test_an_npz_without_images_is_refused(tmp_path, shape) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros(shape, np.uint8))
    refused(lambda: pictures.read(str(tmp_path / "x.npz"), Digits().split("test")), "holds no image")


# The order of pictures


def test_pictures_come_in_one_random_order_from_every_kind_of_file(tmp_path) -> None:
    like = Digits().split("test")
    labels = np.sort(np.arange(200) % 10)  # sorted by class
    images = np.repeat(labels, 64).reshape(200, 8, 8, 1).astype(np.uint8)
    np.savez(tmp_path / "x.npz", images=images, labels=labels)
    np.savez(tmp_path / "adm.npz", images[..., 0], labels)
    (tmp_path / "in").mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(tmp_path / "in" / f"{i:04d}.png")
    path = zipped(tmp_path / "in.zip", {file.name: file.read_bytes() for file in (tmp_path / "in").iterdir()})
    read = [pictures.read(str(tmp_path / name), like) for name in ("x.npz", "adm.npz", "in", "in.zip")]
    assert path.exists() and all(np.array_equal(each.pixels, read[0].pixels) for each in read)
    assert np.array_equal(read[0].labels, read[0].pixels[:, 0, 0, 0])  # labels stay with their pictures
    counts = np.bincount(read[0].labels[:100], minlength=10)
    assert counts.min() >= 5 and counts.sum() == 100  # sorted, the first 100 would be five classes


def test_points_come_in_random_order_too(tmp_path) -> None:
    from gancli.data.points import Grid

    like = Grid(n=50, n_test=50).split("test")
    points = np.stack([np.arange(50.0), np.zeros(50)], 1)
    np.savetxt(tmp_path / "x.csv", points, delimiter=",")
    np.savez(tmp_path / "x.npz", points=points)
    one, two = (pictures.read(str(tmp_path / name), like).pixels[:, :, 0, 0] for name in ("x.csv", "x.npz"))
    assert np.array_equal(one, two) and np.array_equal(np.sort(one[:, 0]), points[:, 0]) and one[:10].max() > 20
    (tmp_path / "bomb.csv.bz2").write_bytes(bz2.compress(b"0,0\n" * 1000))
    refused(lambda: pictures.read(str(tmp_path / "bomb.csv.bz2"), like), "cannot be read")  # it is not unpacked
    np.savez(tmp_path / "x.npz", points=points + 1j)
    refused(lambda: pictures.read(str(tmp_path / "x.npz"), like), "allowed are finite points")


# Names of translations


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


# Bit depths


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


# One reader, one writer


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("name", ["Image.open", "np.load", "zipfile.ZipFile", "tarfile.open", "shutil.unpack_archive"])
def test_only_one_module_opens_what_others_made(name) -> None:
    # The cache of decoded pixels, and the checksums of checkpoints, which are no pictures.
    own = {"np.load": {"gancli/data/cache.py"}, "zipfile.ZipFile": {"gancli/training/integrity.py"}}
    found = {str(f.relative_to(ROOT)) for f in PACKAGE.rglob("*.py") if name in {call for call, _ in calls(f)}}
    assert found - own.get(name, set()) <= {"gancli/data/untrusted.py"}


def test_files_are_written_aside_and_renamed_or_in_a_folder_that_was_looked_at() -> None:
    """What else is opened for writing lies in a run folder behind guard.writing(), or in gancli's own cache."""
    found, aside = set(), ("temporary.", "archive.")  # the file that replacing() makes, and members of a zip in it
    for file in PACKAGE.rglob("*.py"):
        for name, call in calls(file):
            modes = [each.value for each in call.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
            opens = name.split(".")[-1] == "open" and any(set(mode) & set("wax+") and len(mode) < 4 for mode in modes)
            if (opens or name.endswith((".write_text", ".write_bytes"))) and not name.startswith(aside):
                found.add(str(file.relative_to(PACKAGE)))
    assert found == {"data/cache.py", "training/tracker.py"}
