"""Lists of files that are kept: used again, and only where nothing has changed."""

import os
from pathlib import Path

import numpy as np
import pytest
from pictures import numbers, shades, write
from PIL import Image

from gancli.data import listed
from gancli.data.entries import Entries, joined
from gancli.data.files import Directory, open_files
from gancli.data.folder import FolderImages


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("GANCLI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "listed"


def aged(root: Path) -> Path:
    """Make files and folders look an hour older than they are."""
    for path in [*root.rglob("*"), root]:
        past = path.stat().st_mtime - 3600
        os.utime(path, (past, past))
    return root


@pytest.fixture
def root(tmp_path) -> Path:
    return aged(write(tmp_path / "in", *numbers(12, "cat/"), *numbers(12, "dog/deep/"), mode="RGB"))


def source(root: Path, **kwargs) -> FolderImages:
    return FolderImages(str(root), **kwargs)


def walks(monkeypatch) -> list[Path]:
    """Return a list that gets the root of every folder that is walked through from here on."""
    seen: list[Path] = []
    listing = Directory.listing
    monkeypatch.setattr(Directory, "listing", lambda self: seen.append(self.root) or listing(self))
    return seen


@pytest.mark.parametrize("decode", ["once", "access"])
def test_the_second_time_no_folder_is_listed(root, monkeypatch, decode) -> None:
    first = source(root, decode=decode, stratify=True, validation=3)
    before = {split: first.split(split) for split in ("train", "validation", "test")}
    seen = walks(monkeypatch)
    second = source(root, decode=decode, stratify=True, validation=3)
    for split, images in before.items():
        again = second.split(split)
        assert np.array_equal(np.array(images.pixels), np.array(again.pixels))
        assert np.array_equal(images.labels, again.labels) and again.labels.dtype == np.int64
        assert images.fingerprint == again.fingerprint and images.spec == again.spec
    assert seen == [] and first.notes() == second.notes()
    source(root, decode=decode, stratify=True, validation=4).split("train")
    assert seen == [root]


CHANGES = {
    "added": lambda root: write(root, "cat/new.png", first=60),
    "removed": lambda root: (root / "dog/deep/003.png").unlink(),
    "renamed": lambda root: (root / "dog/deep/003.png").rename(root / "dog/deep/x.png"),
    "moved": lambda root: (root / "dog/deep/003.png").rename(root / "cat/x.png"),
    "overwritten": lambda root: Image.new("RGB", (8, 8), (9, 1, 2)).save(root / "dog/deep/003.png"),
    "a class more": lambda root: write(root, "emu/0.png"),
    "labels": lambda root: (root / "dataset.json").write_text('{"labels": null}'),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("decode", ["once", "access"])
def test_a_change_is_noticed(root, monkeypatch, change, decode) -> None:
    before = source(root, decode=decode).split("train").fingerprint
    CHANGES[change](root)
    seen = walks(monkeypatch)
    assert source(root, decode=decode).split("train").fingerprint != before and seen == [root]


def test_labels_that_are_edited_in_place_are_noticed(root) -> None:
    (root / "dataset.json").write_text('{"labels": null}')
    aged(root)
    assert source(root).split("train").labels is None
    names = [str(path.relative_to(root)) for path in root.rglob("*.png")]
    text = '{"labels": [' + ", ".join(f'["{name}", {i % 2}]' for i, name in enumerate(names)) + "]}"
    with (root / "dataset.json").open("r+") as file:
        file.write(text)
    assert source(root).split("train").labels is not None


def test_of_many_files_some_are_looked_at_and_all_folders(root, monkeypatch) -> None:
    monkeypatch.setattr(listed, "_LOOKED_AT", 6)
    files = open_files(root)
    ground = listed.Ground.of([files], Entries.of(files.entries()))
    assert len(ground.some) == 6 and len(ground.stamps) == 4  # in/, cat/, dog/, deep/
    assert ground.holds()
    looked = next(iter(ground.some))
    os.utime(looked)
    assert not ground.holds()


def test_what_has_just_changed_is_not_kept(tmp_path, own_cache) -> None:
    """A change within the same tick of the clock would not show."""
    root = write(tmp_path / "in", *numbers(6))
    source(root).split("train")
    assert not own_cache.exists()
    aged(root)
    source(root).split("train")
    assert len(list(own_cache.iterdir())) == 1


@pytest.mark.parametrize("file", ["meta.json", "labels.npy", "names.npy", "files.npy"])
def test_a_damaged_list_is_made_again(root, own_cache, file) -> None:
    before = shades(source(root, decode="access").split("train"))
    (folder,) = own_cache.iterdir()
    (folder / file).write_bytes(b"")
    assert shades(source(root, decode="access").split("train")) == before
    assert (folder / file).stat().st_size > 0


def test_pixels_that_are_gone_are_decoded_again(root, own_cache) -> None:
    import shutil

    before = source(root, decode="once").split("train")
    expected = np.array(before.pixels)
    shutil.rmtree(own_cache.parent / "decoded")
    assert np.array_equal(source(root, decode="once").split("train").pixels, expected)


def test_tables_of_files(tmp_path) -> None:
    one, two = (open_files(write(tmp_path / name, *numbers(3, "ä/"), "b.png")) for name in ("x", "y"))
    entries = [*one.entries(), *reversed(two.entries())]
    table = Entries.of(entries)
    assert list(table) == entries and [*table[1:6:2]] == entries[1:6:2]
    assert list(table.take(np.array([7, 0, 0]))) == [entries[7], entries[0], entries[0]]
    again = joined([Entries.of(one.entries()), table.take(np.arange(8) > 3), Entries.of([])])
    assert list(again) == [*one.entries(), *entries[4:]] and again.files == (one, two)
    assert table.mean_bytes() == np.mean([entry.size for entry in entries])
