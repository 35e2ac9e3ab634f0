"""What is said of folders that cannot be read: what to do, in keys that can be typed."""

from pathlib import Path

import pytest
from pictures import numbers, refused, write

from gancli.data import pictures
from gancli.data.domains import Paired
from gancli.data.folder import FolderImages
from gancli.errors import UsageError
from gancli.views.translation import _pictures


def like(root: Path):
    return FolderImages(str(root), test=0, validation=0).split("train")


def test_images_to_be_scored_are_read_whatever_their_split(tmp_path, caplog) -> None:
    data = like(write(tmp_path / "like", *numbers(2)))
    root = write(tmp_path / "in", *numbers(6, "train/"), *numbers(3, "test/"), "grid.png")
    assert len(pictures.read(str(root), data)) == 9
    for name in ("testing", "cat"):  # no train: nothing is to be trained on
        write(tmp_path / "other", *numbers(2, f"{name}/"))
    assert len(pictures.read(str(tmp_path / "other"), data)) == 4


def test_advice_names_the_layout_only_where_its_key_can_be_typed(tmp_path) -> None:
    data = like(write(tmp_path / "like", *numbers(2)))
    root = write(tmp_path / "in", *numbers(2, "a/"), *numbers(2, "b/"), "c.png")
    for make in (lambda: pictures.read(str(root), data), lambda: Paired(str(root), size=8).split("train")):
        with pytest.raises(UsageError, match="move all images into class folders, or none$"):
            make()
    refused(lambda: FolderImages(str(root)).split("train"), "or none, or add data.layout=flat")


def unreadable(root: Path) -> Path:
    write(root, "a.png")
    (root / "b.png").write_text("no picture")
    return root


def unequal(root: Path) -> Path:
    return write(write(root, "a.png"), "b.png", size=(4, 4))


@pytest.mark.parametrize("make", [unreadable, unequal, lambda root: unreadable(root) / "b.png"])
def test_advice_on_images_names_no_key_that_cannot_help(tmp_path, make) -> None:
    data = like(write(tmp_path / "like", *numbers(2)))
    with pytest.raises(UsageError) as error:
        pictures.read(str(make(tmp_path / "in")), data)
    assert not any(key in str(error.value) for key in ("data.size", "data.on_error", "data.root")), str(error.value)


def test_advice_on_pairs_does_not_skip(tmp_path) -> None:
    for side in "AB":
        unreadable(tmp_path / "in" / f"train{side}")
    with pytest.raises(UsageError, match="with their partners") as error:
        Paired(str(tmp_path / "in"), size=8, test=0, validation=0).split("train")
    assert "data.on_error" not in str(error.value)


def test_a_source_that_cannot_be_read_is_named_as_it_was_typed(tmp_path) -> None:
    class Spec:
        source_channels = channels = 3

    class Model:
        spec = Spec

    (tmp_path / "x.zip").write_text("no zip")
    refused(lambda: _pictures(Model, str(tmp_path / "x.zip"), "a2b", None), "source=", "not a zip")
