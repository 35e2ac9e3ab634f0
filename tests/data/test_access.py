"""Pictures that are decoded whenever they are used: the same images as those that are decoded once."""

import logging
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from conftest import ROOT
from pictures import numbers, refused, write
from PIL import Image

from gancli.data import cache, decode
from gancli.data.access import AtAccess
from gancli.data.folder import FolderImages
from gancli.data.identity import identity, same
from gancli.data.levels import Quantised, binarized
from gancli.data.loader import Loader
from gancli.data.pixels import fit

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GANCLI_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path):
    random = np.random.RandomState(0)
    for i in range(40):
        (tmp_path / "in" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        noise = random.randint(0, 256, (9, 12 + i % 3, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "in" / "ab"[i % 2] / f"{i:02}.png")
    return tmp_path / "in"


def both(root, **kwargs):
    return [FolderImages(str(root), decode=each, **kwargs) for each in ("once", "access")]


def test_images_labels_and_splits_are_those_decoded_once(root) -> None:
    once, access = both(root, size=6, stratify=True)
    for split in ("train", "validation", "test"):
        a, b = once.split(split), access.split(split)
        assert isinstance(b.pixels, AtAccess) and not isinstance(a.pixels, AtAccess)
        assert a.spec == b.spec and len(a) == len(b) and a.class_names == b.class_names
        assert np.array_equal(a.pixels, np.array(b.pixels)) and np.array_equal(a.labels, b.labels)
    assert not list((root.parent / "cache").glob("decoded/*/pixels.npy")) == []  # of the former alone
    assert "decoded whenever they are used" in "".join(access.notes())


def test_it_is_indexed_as_an_array_is(root) -> None:
    array, pixels = (each.split("train").pixels for each in both(root, size=6))
    rows, mask = np.array([5, 1, 5]), np.arange(len(array)) % 3 == 0
    for index in (3, -1, slice(2, 9, 3), slice(None, None, -1), rows, [0, 2], mask, (slice(0, 4), 1, 2), (2, 0)):
        assert np.array_equal(array[index], pixels[index]), index
    assert [image.shape for image in pixels] == [(3, 6, 6)] * len(array)
    assert np.array_equal(np.take(pixels, rows, axis=0), array[rows])
    assert np.array_equal(pixels.part(mask)[1:3], array[mask][1:3]) and len(pixels.part(slice(2, 5))) == 3
    assert pixels.nbytes == array.nbytes and pixels.shape == array.shape
    with pytest.raises(IndexError):
        pixels[len(array)]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_loader_gives_the_same_batches_whatever_the_ranks(root, workers) -> None:
    once, access = (each.split("train") for each in both(root, size=6))
    options = {"device": CPU, "seed": 3, "flip": True}
    first, second = Loader(once, 8, resident=False, **options), Loader(access, 8, workers=workers, **options)
    assert not second.resident
    for _ in range(9):
        a, b = first.next(), second.next()
        assert torch.equal(a.image, b.image) and torch.equal(a.label, b.label)
    saved, expected = second.state_dict(), second.next()
    again = Loader(access, 8, workers=workers, **options)
    again.load_state_dict(saved)
    assert torch.equal(again.next().image, expected.image)
    ranks = [Loader(access, 8, rank=rank, world=2, workers=workers, **options) for rank in (0, 1)]
    plain = Loader(once, 8, resident=True, device=CPU, seed=3)
    for _ in range(9):
        labels = torch.stack([each.next().label for each in ranks], 1).flatten()
        assert torch.equal(labels, plain.next().label)
    held = Loader(access, 8, resident=True, **options)
    assert torch.equal(held.next().image, Loader(once, 8, resident=True, **options).next().image)
    for each in (first, second, again, *ranks):
        each.close()


def test_a_run_may_go_on_with_images_decoded_the_other_way(root) -> None:
    once, access = (identity(each.split("train")) for each in both(root, size=6))
    other = identity(FolderImages(str(root), size=6, seed=1, decode="access").split("train"))
    assert same(once, access) and same(access, once) and not same(once, other) and not same(access, other)
    assert not same(once, {**once, "sha256": "0"}) and not same({"images": 5}, {"images": 5})


def test_levels_and_sizes_change_at_access(root) -> None:
    once, access = (Quantised(each, bits=3).split("train") for each in both(root, size=6))
    assert isinstance(access.pixels, AtAccess) and np.array_equal(once.pixels, np.array(access.pixels))
    smaller = [fit(each.pixels, 4, 1) for each in (once, access)]
    assert isinstance(smaller[1], AtAccess) and np.array_equal(smaller[0], np.array(smaller[1]))
    plain = FolderImages(str(root), size=6, decode="access").split("train")
    assert access.fingerprint != plain.fingerprint
    drawn = Quantised(FolderImages(str(root), size=6, decode="access"), binarise="dynamic").split("train")
    refused(lambda: binarized(drawn), "data.decode=once")


def test_a_file_that_breaks_later_is_refused_or_replaced(root, caplog) -> None:
    strict = FolderImages(str(root), size=6, decode="access", test=0, validation=0).split("train")
    lenient = FolderImages(str(root), size=6, decode="access", test=0, validation=0, on_error="skip").split("train")
    expected = lenient.pixels[1]
    path = root / lenient.pixels.entries[0].name
    path.write_bytes(path.read_bytes()[:60])
    refused(lambda: strict.pixels[0], path.name, "cannot be read", "data.on_error=skip")
    loader = Loader(strict, 40, device=CPU, workers=1)
    refused(loader.next, path.name)
    loader.close()
    with caplog.at_level(logging.WARNING):
        assert all(np.array_equal(lenient.pixels[0], expected) for _ in range(2))
    assert caplog.text.count("stands in for it") == 1
    assert np.array_equal(lenient.pixels[1], expected)


def test_auto_decodes_at_access_where_there_is_no_room(root, monkeypatch, caplog) -> None:
    assert not isinstance(FolderImages(str(root), size=6).split("train").pixels, AtAccess)
    monkeypatch.setattr(cache, "room", lambda: 2 * 40 * 3 * 7 * 7 - 1)  # bytes
    assert not isinstance(FolderImages(str(root), size=5).split("train").pixels, AtAccess)
    assert isinstance(FolderImages(str(root), size=7).split("train").pixels, AtAccess)
    assert "more than half of it; the images are decoded whenever they are used" in caplog.text
    assert not isinstance(FolderImages(str(root), size=7, decode="once").split("train").pixels, AtAccess)
    monkeypatch.undo()


def test_auto_does_not_fill_memory_instead_of_a_cache(root, monkeypatch, tmp_path, caplog) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GANCLI_CACHE", str(tmp_path / "file"))
    assert isinstance(FolderImages(str(root), size=7).split("train").pixels, np.ndarray)
    monkeypatch.setattr(decode, "_memory", lambda: 1000)
    assert isinstance(FolderImages(str(root), size=7).split("train").pixels, AtAccess)
    assert "memory is too small" in caplog.text


def test_pictures_of_several_sizes_are_refused_before_training(tmp_path, root) -> None:
    refused(lambda: FolderImages(str(root), decode="access").split("train"), "different sizes", "data.size=64")
    grey = write(tmp_path / "grey", *numbers(6), mode="L")
    write(grey, "003.png")
    assert FolderImages(str(grey), decode="access").split("train").spec.channels == 3  # one is in colour


@pytest.mark.skipif(sys.platform != "linux", reason="reads ru_maxrss in KiB")
def test_memory_does_not_grow_with_the_set(tmp_path) -> None:
    """Three thousand images of 48 KiB pass in batches; once the first have passed, a tenth of their sum is allowed."""
    picture = tmp_path / "one.png"
    Image.new("RGB", (128, 128), (9, 99, 200)).save(picture)
    (tmp_path / "in").mkdir()
    for i in range(3000):
        os.link(picture, tmp_path / "in" / f"{i:05}.png")
    code = textwrap.dedent(f"""
        import resource, torch
        from gancli.data.folder import FolderImages
        from gancli.data.loader import Loader
        images = FolderImages({str(tmp_path / "in")!r}, size=128, channels=3, decode="access").split("train")
        loader = Loader(images, 20, device=torch.device("cpu"), workers=1)
        before, used = 0, lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        for i in range(150):
            loader.next()
            before = before if i > 30 else used()
        print(images.pixels.nbytes, used() - before)
        loader.close()
    """)
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True).stdout
    whole, grown = map(int, out.split())
    assert whole > 120e6 and grown < whole / 10
