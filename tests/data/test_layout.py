"""Layouts of folders that people have, and what is said of them: ``pytest tests/data/test_layout.py``."""

import json
import zipfile

import numpy as np
import pytest
from pictures import numbers, refused, shades, write
from PIL import Image

from gancli.data.domains import Paired, Unpaired
from gancli.data.fake import FakeImages
from gancli.data.folder import FolderImages
from gancli.data.source import stratified


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("GANCLI_CACHE", str(tmp_path / "cache"))


def said(source) -> str:
    source.split("train")
    return "\n".join(source.notes())


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training", "testing"),
        ("train", "test"),
        ("Train_set", "test_set"),
        ("train2017", "val2017"),
        ("train", "valid"),
    ],
)
@pytest.mark.parametrize("around", ["", "mnist/"])
def test_folders_of_splits_are_no_classes(tmp_path, train: str, test: str, around: str) -> None:
    for digit in range(10):
        write(tmp_path / "in", *numbers(3, f"{around}{train}/{digit}/"), first=digit)
        write(tmp_path / "in", *numbers(2, f"{around}{test}/{digit}/"), first=30 + digit)
    source = FolderImages(str(tmp_path / "in"), validation=0, test=0)
    assert source.split("train").class_names == tuple("0123456789") and len(source.split("train")) == 30
    held = source.split("test" if "test" in test else "validation")
    assert len(held) == 20 and min(shades(held)) == 30
    assert "images found: 50, taken: 30 as train, 20 as " in said(source)


def test_splits_below_the_classes(tmp_path) -> None:
    for i, name in enumerate(("bottle", "cable")):
        write(tmp_path / "in", *numbers(4, f"{name}/train/good/"), first=10 * i)
        write(tmp_path / "in", *numbers(2, f"{name}/test/good/"), first=30 + 10 * i)
    source = FolderImages(str(tmp_path / "in"), validation=0)
    assert source.split("train").class_names == ("bottle", "cable")
    assert shades(source.split("train")) == [0, 1, 2, 3, 10, 11, 12, 13]
    assert shades(source.split("test")) == [30, 31, 40, 41]


def test_what_lies_beside_the_splits_is_left_and_said(tmp_path) -> None:
    root = write(tmp_path / "in", *numbers(6, "train/"), *numbers(3, "test/"), *numbers(4, "masks/"), "sheet.png")
    for name in ("a.heic", "b.HEIC", "notes.txt"):
        (root / name).write_bytes(b"x")
    text = said(FolderImages(str(root), validation=0))
    assert "images found: 14, taken: 6 as train, 3 as test (no classes)" in text
    assert "not taken: 1 image beside the folders, 4 images in masks/, 2 .heic, 1 .txt" in text


def test_a_class_may_be_called_train(tmp_path) -> None:
    root = write(tmp_path / "in", *numbers(4, "train/"), *numbers(4, "plane/"))
    assert FolderImages(str(root)).split("train").class_names == ("plane", "train")


def test_test_images_without_a_train_folder_are_refused(tmp_path) -> None:
    root = write(tmp_path / "in", *numbers(4, "test/"), *numbers(4, "cat/"))
    refused(lambda: FolderImages(str(root)).split("train"), "test/ beside cat/", "no train/", "data.layout=classes")
    assert FolderImages(str(root), layout="classes").split("train").class_names == ("cat", "test")


@pytest.mark.parametrize(
    "names", [("00000", "00001"), ("00000", "01000"), ("shard-0", "shard-1"), ("images_001", "images_002")]
)
def test_shards_are_no_classes(tmp_path, names) -> None:
    for i, name in enumerate(names):
        write(tmp_path / "in", *numbers(5, f"{name}/img{i}"), first=10 * i)
    source = FolderImages(str(tmp_path / "in"), test=0, validation=0)
    assert source.split("train").spec.num_classes == 0 and len(source.split("train")) == 10
    assert f"{names[0]}/ to {names[1]}/ are shards" in said(source)
    assert FolderImages(str(tmp_path / "in"), layout="classes").split("train").class_names == names


@pytest.mark.parametrize(
    "files",
    [("00000/00000_00001.ppm", "00001/00001_00001.ppm"), ("0/a.png", "1/a.png"), ("class1/a.png", "class2/a.png")],
)
def test_numbered_class_folders_stay_classes(tmp_path, files) -> None:
    root = write(tmp_path / "in", *files)
    assert len(FolderImages(str(root), test=0).split("train").class_names) == 2


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("around", ["", "out/"])
def test_dataset_json_decides_the_classes(tmp_path, zipped: bool, around: str) -> None:
    root = write(tmp_path / "in", *numbers(4, f"{around}00000/img"), *numbers(4, f"{around}00001/img"))
    labels = [[f"0000{i // 4}/img{i % 4:03}.png", (0, 2, 10)[i % 3]] for i in range(8)]
    (root / around / "dataset.json").write_text(json.dumps({"labels": labels}))
    if zipped:
        with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
            for file in sorted(file for file in root.rglob("*") if file.is_file()):
                archive.write(file, file.relative_to(root))
        root = tmp_path / "in.zip"
    train = FolderImages(str(root), test=0, validation=0).split("train")
    assert train.class_names == ("0", "2", "10")
    order = np.rint(train.pixels.mean(axis=(1, 2, 3)) / 5).astype(int)
    assert (train.labels == order % 3).all()
    assert "labels of dataset.json" in said(FolderImages(str(root)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"labels": [["a/000.png", 1]]}', ["no label for 3 of 4 images", "data.layout=flat"]),
        ('{"labels": {"a/000.png": -1}}', ["the label -1", "whole numbers from 0"]),
        ('{"labels": [["a/000.png", [0.5, 0.1]]]}', ["the label [0.5, 0.1]"]),
        ('{"labels": 5}', ["dataset.json holds no labels"]),
        ("[" * 100_000, ["dataset.json holds no labels"]),
        ('{"name": "x"}', ["dataset.json holds no labels", "data.layout=classes"]),
    ],
)
def test_a_damaged_dataset_json_is_refused(tmp_path, text: str, words: list[str]) -> None:
    root = write(tmp_path / "in", *numbers(2, "a/"), *numbers(2, "b/"))
    (root / "dataset.json").write_text(text)
    refused(lambda: FolderImages(str(root)).split("train"), *words)


def test_a_dataset_json_without_labels_makes_no_classes(tmp_path) -> None:
    root = write(tmp_path / "in", *numbers(2, "a/"), *numbers(2, "b/"))
    (root / "dataset.json").write_text('{"labels": null}')
    assert FolderImages(str(root), test=0).split("train").spec.num_classes == 0


@pytest.mark.parametrize(
    "naming",
    [
        "train{} test{} valid{}",
        "training_{} testing_{} val_{}",
        "train/{} test/{} validation/{}",
        "{}/train {}/test {}/val",
    ],
)
def test_domains_as_people_name_them(tmp_path, naming: str) -> None:
    for side, first in (("A", 0), ("B", 20)):
        for folder, n, more in zip(naming.format(side, side, side).split(), (6, 3, 2), (0, 6, 9)):
            write(tmp_path / "in" / folder, *numbers(n), first=first + more)
    write(tmp_path / "in" / "masks", *numbers(2))
    source = Unpaired(str(tmp_path / "in"), size=8, load=1)
    for split, expected in (("train", range(6)), ("test", range(6, 9)), ("validation", range(9, 11))):
        assert shades(source.split(split).source) == list(expected)
        assert shades(source.split(split)) == [20 + shade for shade in expected]
    assert "6 as train, 2 as validation, 3 as test (domain A); not taken: 2 images in masks/" in said(source)
    assert Paired(str(tmp_path / "in"), size=8).split("train").spec.paired


def test_two_plain_folders_are_two_domains(tmp_path) -> None:
    write(tmp_path / "in", *numbers(4, "A/"), *numbers(4, "B/"))
    assert len(Unpaired(str(tmp_path / "in"), size=8, test=1, validation=0).split("train")) == 3


def test_other_endings(tmp_path) -> None:
    kinds = ("png", "JPEG", "jpg", "jfif", "jpe", "ppm", "pgm", "pnm", "webp", "avif", "TIFF", "gif", "bmp")
    write(tmp_path / "in", "x.png")
    for i, kind in enumerate(kinds):
        form = {"jfif": "JPEG", "jpe": "JPEG", "jpg": "JPEG", "pgm": "PPM", "pnm": "PPM"}.get(kind, kind.upper())
        Image.new("L" if kind == "pgm" else "RGB", (8, 8)).save(tmp_path / "in" / f"{i}.{kind}", format=form)
    assert len(FolderImages(str(tmp_path / "in"), test=0, validation=0).split("train")) == 1 + len(kinds)


def test_a_folder_of_unknown_pictures_says_what_it_holds(tmp_path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.heic").write_bytes(b"x")
    refused(lambda: FolderImages(str(tmp_path / "in")).split("train"), "no images in it", "it holds 1 .heic")


def test_every_class_is_held_out_in_its_proportion(tmp_path) -> None:
    sizes = {"a": 40, "b": 20, "c": 10, "d": 1}
    for i, (name, n) in enumerate(sizes.items()):
        write(tmp_path / "in", *numbers(n, f"{name}/"), first=i)
    for seed in range(4):
        source = FolderImages(str(tmp_path / "in"), test=0.1, validation=0.1, seed=seed, stratify=True)
        counts = {s: np.bincount(source.split(s).labels, minlength=4).tolist() for s in ("train", "validation", "test")}
        assert counts["test"] in ([4, 2, 1, 0], [4, 2, 0, 0], [4, 1, 1, 0], [5, 2, 0, 0]) and counts["train"][3] == 1
        assert np.sum(list(counts.values()), 0).tolist() == list(sizes.values())
    refused(
        lambda: FolderImages(str(tmp_path / "in"), test=68, validation=0, stratify=True).split("train"),
        "has no training image left", "data.test=",
    )  # fmt: skip
    small = FolderImages(str(tmp_path / "in"), test=67, validation=0, stratify=True).split("train")
    assert sorted(small.labels.tolist()) == [0, 1, 2, 3]


def test_prefixes_of_a_stratified_order_are_nested_and_proportional() -> None:
    labels = np.repeat([0, 1, 2], [500, 300, 200])
    order = stratified(labels, 3)
    assert sorted(order.tolist()) == list(range(1000))
    for n in (10, 50, 100, 900):
        assert np.abs(np.bincount(labels[order[:n]], minlength=3) - n * np.array([0.5, 0.3, 0.2])).max() <= 2
    assert (stratified(labels, 4) != order).any()


def test_a_class_whose_files_are_all_broken_is_refused(tmp_path) -> None:
    root = write(tmp_path / "in", *numbers(4, "a/"), *numbers(4, "b/"))
    (root / "c").mkdir()
    (root / "c" / "0.png").write_text("no picture")
    make = lambda: FolderImages(str(root), on_error="skip", test=0, validation=0, stratify=True)  # noqa: E731
    refused(lambda: make().split("train"), "class 'c' has no training image left")


def test_a_test_folder_of_other_classes_is_refused(tmp_path) -> None:
    root = write(tmp_path / "in", *numbers(4, "a/"), *numbers(4, "b/"))
    other = write(tmp_path / "other", *numbers(4, "b/"), *numbers(4, "z/"))
    refused(lambda: FolderImages(str(root), test=str(other)).split("test"), "data.test=", "of class 'z'", "a, b")
    refused(lambda: FolderImages(str(root), test=str(tmp_path / "no")).split("test"), "data.test=", "no such folder")


def test_what_was_done_to_the_pictures_is_said(tmp_path) -> None:
    root = write(tmp_path / "in", *numbers(6), size=(20, 10))
    write(root, *numbers(3, "small"), size=(4, 4), first=10)
    Image.new("RGBA", (10, 10), (0, 0, 0, 0)).save(root / "clear.png")
    Image.new("RGBA", (10, 10), (9, 9, 9, 255)).save(root / "opaque.png")
    for name in ("again.png", "twice.png"):
        (root / name).write_bytes((root / "000.png").read_bytes())
    for _ in range(2):  # decoded, then cached
        text = said(FolderImages(str(root), size=8, validation=0, test=2))
        assert "data=folder: 11 train, 2 test images of 8x8 RGB" in text
        assert "sizes: 20x10 (8), 4x4 (3), 10x10 (2), cropped to the largest centred square, resized to 8x8" in text
        assert "smaller than 8x8, and enlarged: 3" in text
        assert "transparent in places, which are white now: 1" in text
        assert "with the same pixels as another one: 2" in text
    assert "squeezed to 8x8" in said(FolderImages(str(root), size=8, crop="none"))
    assert "cropped to 4x4 in the centre, resized to 8x8" in said(FolderImages(str(root), size=8, crop=4))


def test_test_pictures_that_are_in_train_too_are_counted(tmp_path) -> None:
    root = write(write(tmp_path / "in", *numbers(5, "train/")), *numbers(3, "test/"))
    assert "of validation and test, in train as well: 3" in said(FolderImages(str(root), validation=0))


def test_classes_and_their_counts_are_said(tmp_path) -> None:
    root = write(tmp_path / "in", *numbers(5, "cat/"), *numbers(3, "dog/"))
    assert "2 classes, images of train: cat 5, dog 3" in said(FolderImages(str(root), test=0, validation=0))
    assert "12 classes, images of train: " in said(FakeImages(n=100, num_classes=12, size=4))
    assert said(FakeImages(n=100, num_classes=0, size=4)).startswith("data=fake: 95 train, 5 validation images of 4x4")
