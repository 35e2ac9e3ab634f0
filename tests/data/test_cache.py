"""The cache that images are decoded into, and what happens when it fails."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from pictures import numbers, shades, write
from PIL import Image

from gancli.data import cache
from gancli.data.folder import FolderImages


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("GANCLI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "decoded"


def test_cache_is_used_and_follows_the_files(tmp_path, own_cache, monkeypatch) -> None:
    root = write(tmp_path / "in", *numbers(6))
    before = FolderImages(str(root)).split("train")
    (key,) = own_cache.iterdir()
    assert (
        np.load(key / "pixels.npy").shape == (6, 3, 8, 8)
        and json.loads((key / "meta.json").read_text())["skipped"] == []
    )
    with monkeypatch.context() as context:
        context.setattr(Image, "open", None)  # not a file is opened the second time
        again = FolderImages(str(root)).split("train")
    assert again.fingerprint == before.fingerprint and np.array_equal(again.pixels, before.pixels)
    write(root, "000.png", first=40)
    after = FolderImages(str(root), validation=0).split("train")
    assert after.fingerprint != before.fingerprint and len(list(own_cache.iterdir())) == 2


@pytest.mark.parametrize("damage", ["pixels.npy", "meta.json"])
def test_a_damaged_cache_is_made_again(tmp_path, own_cache, damage: str) -> None:
    root = write(tmp_path / "in", *numbers(6))
    before = np.array(FolderImages(str(root)).split("train").pixels)
    file = next(own_cache.iterdir()) / damage
    file.write_bytes(file.read_bytes()[:-20])
    assert np.array_equal(FolderImages(str(root)).split("train").pixels, before)
    assert cache.load(next(own_cache.iterdir()).name) is not None


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, own_cache, monkeypatch, caplog) -> None:
    root = write(tmp_path / "in", *numbers(6))
    expected = np.array(FolderImages(str(root)).split("train").pixels)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GANCLI_CACHE", str(tmp_path / "file"))
    images = FolderImages(str(root)).split("train")
    assert np.array_equal(images.pixels, expected) and not isinstance(images.pixels, np.memmap)
    assert "set GANCLI_CACHE" in caplog.text


def test_a_full_disk_in_the_middle_is_done_without(tmp_path, own_cache, monkeypatch, caplog) -> None:
    def full(self: cache.Writer, image: np.ndarray) -> None:
        if self.count == 3:
            raise OSError(28, "No space left on device")
        self.count += 1

    monkeypatch.setattr(cache.Writer, "append", full)
    source = FolderImages(str(write(tmp_path / "in", *numbers(6))), test=0, validation=0)
    assert shades(source.split("train")) == list(range(6))
    assert "No space left on device" in caplog.text and list(own_cache.iterdir()) == []


def test_a_killed_decode_leaves_nothing_that_matters(tmp_path, own_cache) -> None:
    root = write(tmp_path / "in", *numbers(30))
    code = textwrap.dedent(f"""
        import time
        from gancli.data import cache
        from gancli.data.folder import FolderImages
        append = cache.Writer.append
        def slow(self, image):
            append(self, image)
            if self.count == 10:
                print("half way", flush=True)
                time.sleep(60)
        cache.Writer.append = slow
        FolderImages({str(root)!r}).split("train")
    """)
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert child.stdout.readline() == "half way\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    (left,) = own_cache.iterdir()
    assert left.suffix == ".tmp"
    source = FolderImages(str(root), test=0, validation=0)
    assert shades(source.split("train")) == list(range(30))
    os.utime(left, (time.time() - 10**6,) * 2)  # swept up when it is old
    FolderImages(str(root), size=4).split("train")
    assert not left.exists()


def test_files_of_one_shape_are_opened_once(tmp_path, monkeypatch) -> None:
    """The shape is that of the first one, which is opened twice; nobody reads all headers before."""
    root, opened, original = write(tmp_path / "in", *numbers(6)), [], Image.open
    monkeypatch.setattr(Image, "open", lambda *args, **kwargs: opened.append(1) or original(*args, **kwargs))
    assert FolderImages(str(root)).split("train").spec.shape == (3, 8, 8) and len(opened) == 7


def test_a_first_file_that_misleads_leaves_nothing(tmp_path, own_cache) -> None:
    """Only one of them is in colour, wherever it comes in the stored order."""
    root = write(tmp_path / "in", *numbers(6), mode="L")
    write(root, "003.png")
    images = FolderImages(str(root), validation=0, test=0).split("train")
    assert images.spec.shape == (3, 8, 8) and len(images) == 6
    grey = (images.pixels == images.pixels[:, :1]).all((1, 2, 3))
    assert grey.sum() >= 5 and len(list(own_cache.iterdir())) == 1
