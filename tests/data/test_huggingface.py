"""The datasets library as a source, where it is installed; and what is said where it is not."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from pictures import noise, numbers, refused, shades, write
from PIL import Image

from gancli.data.access import AtAccess
from gancli.data.huggingface import HuggingFaceImages
from gancli.errors import UsageError

WORDS = ("cat", "dog", "emu")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("GANCLI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


@pytest.fixture
def library(tmp_path, monkeypatch):
    found = pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf")
    found.disable_progress_bars()
    return found


def source(root: Path | str | None, **kwargs) -> HuggingFaceImages:
    where = {} if root is None else {"root": str(root)}
    return HuggingFaceImages(**{**where, "size": 4, "test": 0, "validation": 0, **kwargs})


def table(library, count: int = 30, first: int = 0, **columns):
    pictures = [Image.new("RGB", (8, 8), (5 * (first + i),) * 3) for i in range(count)]
    kinds = {"picture": library.Image(), "animal": library.ClassLabel(names=list(WORDS))}
    facts = {"picture": pictures, "animal": [i % 3 for i in range(count)], **columns}
    kinds |= {name: library.Value("string" if isinstance(each[0], str) else "int64") for name, each in columns.items()}
    return library.Dataset.from_dict(facts, features=library.Features(kinds))


def test_saved_to_disk(library, tmp_path, monkeypatch) -> None:
    table(library).save_to_disk(tmp_path / "saved")
    found = source(tmp_path / "saved", validation=6)
    train, held = found.split("train"), found.split("validation")
    assert isinstance(train.pixels, AtAccess) and train.class_names == WORDS and len(held) == 6
    for images in (train, held):
        assert [round(float(x.mean()) / 5) % 3 for x in images.pixels] == images.labels.tolist()
    assert sorted(shades(train) + shades(held)) == list(range(30))
    assert "3 classes of 'animal'" in "".join(found.notes())
    monkeypatch.setattr(HuggingFaceImages, "_find", None)  # nothing is listed the second time
    again = source(tmp_path / "saved", validation=6).split("train")
    assert again.fingerprint == train.fingerprint and np.array_equal(np.array(again.pixels), np.array(train.pixels))


def test_splits_of_a_dictionary(library, tmp_path) -> None:
    parts = {"train": table(library, 9), "validation": table(library, 6, 20), "test": table(library, 3, 40)}
    library.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    found = source(tmp_path / "saved", validation=0.5, test=0.5)
    assert {split: shades(found.split(split)) for split in parts} == {
        "train": list(range(9)), "validation": list(range(20, 26)), "test": list(range(40, 43)),
    }  # fmt: skip


def test_files_of_tables_and_folders_of_pictures(library, tmp_path) -> None:
    (tmp_path / "tables").mkdir()
    table(library, 12).to_parquet(tmp_path / "tables" / "train-00000-of-00001.parquet")
    table(library, 4, 30).to_parquet(tmp_path / "tables" / "test-00000-of-00001.parquet")
    found = source(tmp_path / "tables")
    assert shades(found.split("train")) == list(range(12)) and shades(found.split("test")) == list(range(30, 34))
    one = source(tmp_path / "tables" / "train-*.parquet")
    assert shades(one.split("train")) == list(range(12)) and one.split("train").class_names == WORDS
    write(tmp_path / "in", *numbers(4, "train/a/"), *numbers(4, "train/b/"), *numbers(2, "test/a/"))
    folder = source(tmp_path / "in")
    assert folder.split("train").class_names == ("a", "b") and len(folder.split("test")) == 2


def test_columns_are_found_or_named(library, tmp_path) -> None:
    words = table(library, 6, word=["x", "y"] * 3, number=[5, 7, 7] * 2)
    words.save_to_disk(tmp_path / "saved")
    assert source(tmp_path / "saved").split("train").class_names == WORDS
    assert source(tmp_path / "saved", label="word").split("train").class_names == ("x", "y")
    assert source(tmp_path / "saved", label="number", image="picture").split("train").class_names == ("5", "7")
    assert source(tmp_path / "saved", label="none").split("train").labels is None
    words.remove_columns("animal").rename_column("word", "label").save_to_disk(tmp_path / "plain")
    assert source(tmp_path / "plain").split("train").class_names == ("x", "y")
    refused(lambda: source(tmp_path / "saved", label="wrod").split("train"), "data.label=wrod", "picture, animal, word")
    refused(lambda: source(tmp_path / "saved", image="word").split("train"), "data.image=word", "no pictures")
    refused(lambda: source(tmp_path / "saved", image="pic").split("train"), "data.image=pic", "the columns are")
    table(library, 3).remove_columns("picture").save_to_disk(tmp_path / "bare")
    refused(lambda: source(tmp_path / "bare").split("train"), "no column of pictures", "data.image=")


def test_pictures_of_a_table_are_opened_as_all_others(library, tmp_path) -> None:
    """By untrusted.py: also a format that Pillow would know, and one that is damaged."""
    good, encapsulated = io.BytesIO(), io.BytesIO()
    Image.fromarray(noise(8, 8)).save(good, "PNG")
    Image.new("L", (8, 8)).save(encapsulated, "EPS")
    for name, bad in (("eps", encapsulated.getvalue()), ("cut", good.getvalue()[:70])):
        rows = [{"bytes": each, "path": None} for each in (good.getvalue(), bad)]
        library.Dataset.from_dict({"image": rows}).to_parquet(tmp_path / f"{name}.parquet")
        images = source(tmp_path / f"{name}.parquet", channels=1).split("train")
        refused(lambda images=images: np.array(images.pixels), "train/1 cannot be read", "data.on_error=skip")


def test_labels_that_are_no_classes(library, tmp_path) -> None:
    bad = table(library, 4).cast_column("animal", library.Value("int64")).rename_column("animal", "label")
    library.DatasetDict({"train": bad, "test": bad.map(lambda row: {"label": 9})}).save_to_disk(tmp_path / "saved")
    refused(lambda: source(tmp_path / "saved").split("train"), "test has the label 9", "data.label=none")
    table(library, 2).map(lambda row: {"score": 0.5}).save_to_disk(tmp_path / "scores")
    refused(lambda: source(tmp_path / "scores", label="score").split("train"), "data.label=score", "whole numbers")


def test_names_of_the_hub_are_passed_on(library, monkeypatch, tmp_path) -> None:
    calls = []
    monkeypatch.setattr(library, "load_dataset", lambda *args, **kwargs: calls.append((args, kwargs)) or table(library))
    assert len(source(None, name="user/faces", config="small").split("train")) == 30
    assert calls == [(("user/faces", "small"), {})]  # no code of the hub is trusted

    def unreachable(*args, **kwargs):
        raise ConnectionError("no\nway")

    monkeypatch.setattr(library, "load_dataset", unreachable)
    refused(lambda: source(None, name="user/faces").split("train"), "data.name=user/faces", "way")


def test_what_is_missing(library, tmp_path) -> None:
    refused(lambda: source(tmp_path / "nowhere").split("train"), "nowhere", "no such folder")
    refused(lambda: source(None), "data.root=", "data.name=")
    refused(lambda: source("a", name="b"), "give one of them")
    (tmp_path / "empty").mkdir()
    refused(lambda: source(tmp_path / "empty").split("train"), "data.root=", "datasets library cannot read it")


def test_the_library_is_an_extra(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match=r"pip install 'gancli\[huggingface\]'"):
        source(tmp_path).split("train")
