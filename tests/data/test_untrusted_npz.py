"""Arrays of strangers, their labels, and the one random order in which pictures of every kind of file come."""

import bz2
import io
import os
import zipfile

import numpy as np
import pytest
from PIL import Image
from strangers import refused, zipped

from gancli.data import pictures, untrusted
from gancli.data.digits import Digits
from gancli.data.untrusted import Unreadable

pytestmark = pytest.mark.usefixtures("fresh_reader")


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
