"""Folders and zips of images."""

import logging
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from pictures import numbers, shades, write
from PIL import Image

from gancli.data import untrusted
from gancli.data.folder import FolderImages
from gancli.errors import UsageError

SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("GANCLI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "decoded"


def packed(root: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(file for file in root.rglob("*") if file.is_file()):
            archive.write(file, file.relative_to(root))
    return path


def refused(match: str, root: Path, **kwargs: object) -> str:
    with pytest.raises(UsageError, match=match) as error:
        FolderImages(str(root), **kwargs).split("train")
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("zipped", [False, True])
def test_flat(tmp_path, zipped: bool) -> None:
    root = write(tmp_path / "in", *numbers(20), *numbers(4, "x", "JPG"), *numbers(3, "y", "TiFf"))
    (root / "notes.txt").write_text("not an image")
    (root / ".hidden.png").write_text("no")
    write(root / "__MACOSX", "a.png")
    write(root / ".git", "a.png")
    root = packed(root, tmp_path / "in.zip") if zipped else root
    source = FolderImages(str(root), validation=3, test=2)
    train, validation, test = (source.split(split) for split in ("train", "validation", "test"))
    assert (len(train), len(validation), len(test)) == (22, 3, 2)
    assert sorted(shades(train) + shades(validation) + shades(test)) == list(range(27))
    assert (
        train.labels is None
        and train.spec.shape == (3, 8, 8)
        and train.spec.num_classes == 0
        and train.name == "folder"
    )
    assert len({images.fingerprint for images in (train, validation, test)}) == 3
    assert isinstance(train.pixels, np.memmap)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("around", ["", "faces/", "a/b/"])
def test_class_folders(tmp_path, zipped: bool, around: str) -> None:
    root = write(tmp_path / "in", *numbers(10, f"{around}dog/"), first=0)
    write(root, *numbers(10, f"{around}cat/deep/er/"), first=20)
    root = packed(root, tmp_path / "in.zip") if zipped else root
    source = FolderImages(str(root), validation=0)
    train, test = source.split("train"), source.split("test")
    assert train.class_names == ("cat", "dog") and train.spec.num_classes == 2 and len(test) == 2
    for images in (train, test):
        dark = images.pixels.mean(axis=(1, 2, 3)) < 5 * 15
        assert np.array_equal(images.labels, dark.astype(int)) and images.labels.dtype == np.int64
    assert len(set(train.labels[:9].tolist())) == 2  # shuffled: a prefix is a fair sample


def test_split_folders(tmp_path) -> None:
    root = tmp_path / "in"
    for i, (split, count) in enumerate({"train": 6, "test": 3, "val": 2}.items()):
        for j, name in enumerate(("a", "b")):
            write(root, *numbers(count, f"{split}/{name}/"), first=20 * i + 10 * j)
    source = FolderImages(str(root), validation=0.5, test=0.5)
    assert {s: shades(source.split(s)) for s in ("train", "validation", "test")} == {
        "train": [*range(6), *range(10, 16)],
        "test": [20, 21, 22, 30, 31, 32],
        "validation": [40, 41, 50, 51],
    }
    assert source.split("test").class_names == ("a", "b")
    only = write(tmp_path / "only", *numbers(10, "Train/"))
    assert len(FolderImages(str(only), validation=0).split("test")) == 1
    write(root, "test/c/0.png")
    refused("class 'c' has test or validation images but none to train on", root)


def test_another_folder_or_zip_to_test_on(tmp_path) -> None:
    root = write(tmp_path / "in", *numbers(5, "a/"), *numbers(5, "b/"))
    other = packed(write(tmp_path / "other", *numbers(4, "b/"), first=30), tmp_path / "other.zip")
    write(tmp_path / "other", *numbers(4, "a/"), first=40)
    other = packed(tmp_path / "other", tmp_path / "other.zip")
    source = FolderImages(str(root), test=str(other), validation=2)
    assert len(source.split("train")) == 8 and source.split("test").labels.sum() == 4
    assert shades(source.split("test")) == [30, 31, 32, 33, 40, 41, 42, 43]


def test_held_out_parts_follow_the_seed_and_share_the_cache(tmp_path, own_cache) -> None:
    root = str(write(tmp_path / "in", *numbers(40)))
    parts = [shades(FolderImages(root, seed=seed).split("validation")) for seed in (0, 0, 1)]
    assert parts[0] == parts[1] != parts[2]
    small, large = (FolderImages(root, validation=v) for v in (4, 10))
    assert set(shades(small.split("validation"))) < set(shades(large.split("validation")))
    assert small.split("test").fingerprint == large.split("test").fingerprint
    assert len(list(own_cache.iterdir())) == 2  # one for each seed


def test_channels_and_sizes_are_read_off_the_files(tmp_path) -> None:
    root = write(tmp_path / "in", *numbers(5), mode="L", size=(6, 4))
    assert FolderImages(str(root)).split("train").spec.shape == (1, 4, 6)
    assert FolderImages(str(root), channels=3, size=8).split("train").spec.shape == (3, 8, 8)
    write(root, "z.png", size=(6, 4))  # one RGB file makes it RGB
    assert FolderImages(str(root)).split("train").spec.shape == (3, 4, 6)
    assert FolderImages(str(root), size=3).split("train").spec.shape == (3, 3, 3)
    assert FolderImages(str(root), channels=1).split("train").spec.shape == (1, 4, 6)
    write(root, "zz.png", size=(10, 5))
    assert "6x4 (6), 10x5 (1)" in refused("different sizes.*data.size=64", root)
    assert FolderImages(str(root), crop=4).split("train").spec.shape == (3, 4, 4)


def test_exif_decides_the_size(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    root = write(tmp_path / "in", *numbers(4), size=(6, 4))
    Image.new("RGB", (4, 6)).save(root / "turned.jpg", exif=exif)
    assert FolderImages(str(root)).split("train").spec.shape == (3, 4, 6)


def broken(root: Path) -> Path:
    write(root, *numbers(20))
    (root / "empty.png").write_bytes(b"")
    (root / "text.jpg").write_text("no picture")
    (root / "half.png").write_bytes((root / "005.png").read_bytes()[:45])
    os.symlink(root / "gone", root / "dangling.png")
    return root


def test_broken_files_are_named_and_refused(tmp_path, own_cache) -> None:
    message = refused(r"4 of 24 images cannot be read", broken(tmp_path / "in"))
    assert "data.on_error=skip" in message
    assert sum(name in message for name in ("empty.png", "text.jpg", "half.png", "dangling.png")) == 3  # the first ones
    assert list(own_cache.iterdir()) == []


def test_broken_files_are_skipped_and_counted(tmp_path, caplog) -> None:
    root = broken(tmp_path / "in")
    for _ in range(2):  # decoded, then cached
        caplog.clear()
        source = FolderImages(str(root), on_error="skip", test=5, validation=5)
        parts = [shades(source.split(split)) for split in ("train", "validation", "test")]
        assert sorted(parts[0] + parts[1] + parts[2]) == list(range(20))
        warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
        assert len(warnings) == 1 and "skipped 4 of 24 images" in warnings[0]


def test_a_picture_bomb_counts_as_broken(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(untrusted, "_limit", 500_000 / 2**30)
    root = write(tmp_path / "in", *numbers(4))
    Image.new("1", (300, 300)).save(root / "bomb.png")
    assert "bomb.png" in refused("1 of 5 images", root, size=8)


def test_fuzzed_files_never_crash(tmp_path) -> None:
    random = np.random.RandomState(0)
    root = write(tmp_path / "in", "good.png", "good2.png", "good3.png")
    picture = Image.fromarray(random.randint(0, 256, (20, 20, 3), dtype=np.uint8))
    for kind in ("png", "jpg", "gif", "webp", "tif", "bmp"):
        picture.save(tmp_path / f"x.{kind}")
        whole = np.frombuffer((tmp_path / f"x.{kind}").read_bytes(), np.uint8)
        for i in range(40):
            data = whole.copy()
            data[random.randint(0, min(len(data), 200), 4)] = random.randint(0, 256, 4)
            (root / f"{i}.{kind}").write_bytes(data.tobytes())
    source = FolderImages(str(root), size=8, channels=3, on_error="skip", validation=0)
    assert 3 <= len(source.split("train")) + len(source.split("test")) <= 243


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda root: None, "no such folder or zip"),
        (lambda root: root.mkdir(), r"no images in it; looked for \.png"),
        (lambda root: root.write_text("tar"), "not a zip"),
        (lambda root: root.write_bytes(b"PK\3\4" + b"x" * 50), "not a zip"),
        (lambda root: zipfile.ZipFile(root, "w").close(), "no images in it"),
        (
            lambda root: write(root, "a.png", "cat/b.png", "dog/c.png"),
            "1 image, e.g. a.png, beside 2 class folders",
        ),
        (lambda root: (root.mkdir(), (root / "a.png").write_text("x")), "its only image cannot be read"),
    ],
)
def test_what_is_no_image_folder(tmp_path, make, match: str) -> None:
    make(tmp_path / "in")
    refused(match, tmp_path / "in")


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"on_error": "skp"}, "did you mean 'skip'"),
        ({"crop": "centre"}, "data.crop='centre'"),
        ({"test": 1.5}, "data.test=1.5"),
        ({"test": 99}, "data.test=99: only 4 images"),
        ({"test": "/no/where.zip"}, "data.root=/no/where.zip|no such folder"),
        ({"validation": 4}, "data.validation=4: only 3 images"),
    ],
)
def test_bad_arguments(tmp_path, kwargs: dict, match: str) -> None:
    refused(match, write(tmp_path / "in", *numbers(4)), **kwargs)


def test_no_test_part_says_how_to_get_one(tmp_path) -> None:
    source = FolderImages(str(write(tmp_path / "in", *numbers(4))), test=0)
    assert len(source.split("train")) == 3
    with pytest.raises(UsageError, match="no test split, only train, validation; .*data.test=0.1"):
        source.split("test")


@pytest.mark.skipif(not (SHARED / "cifar10-jpeg-test.zip").exists(), reason="needs ../shared/data")
def test_cifar_zip() -> None:
    source = FolderImages(str(SHARED / "cifar10-jpeg-test.zip"))
    train = source.split("train")
    assert [len(train), len(source.split("validation")), len(source.split("test"))] == [8550, 450, 1000]
    assert train.spec.shape == (3, 32, 32) and train.class_names[0] == "airplane"
    assert abs(train.pixels[:2000].mean() / 255 - 0.477) < 0.02
