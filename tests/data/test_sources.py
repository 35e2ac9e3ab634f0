"""digits, fake, and the hold-out that every source shares."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from gancli.data import digits
from gancli.data.digits import Digits
from gancli.data.fake import FakeImages
from gancli.data.folder import FolderImages
from gancli.data.source import hold_out
from gancli.errors import UsageError


def rows(pixels: np.ndarray) -> list[bytes]:
    return [row.tobytes() for row in pixels]


def test_digits_are_scikit_learns_scaled_to_uint8() -> None:
    from sklearn.datasets import load_digits

    scans = load_digits()
    source = Digits(validation=0)
    train, test = source.split("train"), source.split("test")
    ours = np.concatenate([train.pixels, test.pixels])
    expected = np.array([round(v * 255 / 16) for v in range(17)], np.uint8)[scans.images.astype(int)]
    assert sorted(rows(ours)) == sorted(rows(expected[:, None]))
    assert ours.dtype == np.uint8 and ours.min() == 0 and ours.max() == 255
    assert train.spec.shape == (1, 8, 8) and train.spec.num_classes == 10
    label_of = dict(zip(rows(expected), scans.target, strict=True))
    assert all(label_of[row] == label for row, label in zip(rows(train.pixels[:, 0]), train.labels, strict=True))


def test_digits_are_read_without_importing_scikit_learn_while_it_keeps_them_there(monkeypatch) -> None:
    ours = digits._scans()
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "sklearn.datasets", None)  # importing it is an error
        assert Digits().split("test").spec.shape == (1, 8, 8)
    monkeypatch.setattr(digits, "FILE", Path("nowhere.csv.gz"))
    for own, theirs in zip(ours, digits._scans(), strict=True):
        assert np.array_equal(own, theirs) and own.dtype == theirs.dtype


def test_digits_test_part_is_a_fifth_of_every_class_and_ignores_the_seed() -> None:
    a, b = Digits(seed=0), Digits(seed=7)
    assert a.split("test").fingerprint == b.split("test").fingerprint
    assert a.split("train").fingerprint != b.split("train").fingerprint
    counts = np.bincount(a.split("test").labels)
    total = counts + np.bincount(a.split("train").labels) + np.bincount(a.split("validation").labels)
    assert np.array_equal(counts, np.round(0.2 * total)) and total.sum() == 1797


def test_digits_take_size_and_channels() -> None:
    images = Digits(size=16, channels=3).split("train")
    assert images.pixels.shape[1:] == (3, 16, 16) == images.spec.shape
    assert np.array_equal(images.pixels[:, 0], images.pixels[:, 2])


@pytest.mark.parametrize(("part", "count"), [(0.05, 50), (30, 30), (0.0001, 1), (0, 0), (0.0, 0), (0.99999, 999)])
def test_hold_out_is_disjoint_complete_sorted(part: float, count: int) -> None:
    held, kept = hold_out(1000, part, 3, "validation")
    assert len(held) == count
    assert np.array_equal(np.sort(np.concatenate([held, kept])), np.arange(1000))
    assert np.all(np.diff(held) > 0) and np.all(np.diff(kept) > 0)


def test_hold_out_depends_on_the_seed_and_is_nested() -> None:
    first, again, other = (set(hold_out(500, 0.1, seed, "validation")[0]) for seed in (0, 0, 1))
    assert first == again != other
    assert first < set(hold_out(500, 0.3, 0, "validation")[0])
    # Frozen: a later version that holds out other images would score old checkpoints on their training data.
    assert hold_out(100, 4, 0, "validation")[0].tolist() == [2, 26, 55, 86]


def test_validation_is_held_out_of_train() -> None:
    source, whole = FakeImages(n=100, size=4, validation=0.2, seed=5), FakeImages(n=100, size=4, validation=0, seed=5)
    train, validation = source.split("train"), source.split("validation")
    assert (len(train), len(validation)) == (80, 20)
    assert not set(rows(train.pixels)) & set(rows(validation.pixels))
    assert sorted(rows(train.pixels) + rows(validation.pixels)) == sorted(rows(whole.split("train").pixels))
    assert len({image.fingerprint for image in (train, validation, whole.split("train"))}) == 3
    assert source.split("train") is train


def test_fake_is_deterministic_and_takes_every_shape() -> None:
    a, b, c = (FakeImages(n=20, n_test=8, height=5, width=7, channels=1, num_classes=4, seed=s) for s in (1, 1, 2))
    assert a.split("train").fingerprint == b.split("train").fingerprint != c.split("train").fingerprint
    assert a.split("test").spec.shape == (1, 5, 7) and len(a.split("test")) == 8
    assert a.split("train").labels.dtype == np.int64 and a.split("train").labels.max() < 4
    assert not set(rows(a.split("train").pixels)) & set(rows(a.split("test").pixels))
    unlabelled = FakeImages(n=20, num_classes=0).split("train")
    assert unlabelled.labels is None and unlabelled.spec.num_classes == 0


@pytest.mark.parametrize(
    ("arguments", "split", "words"),
    [
        ({"validation": 0}, "validation", ["no validation split", "data.validation=0.05"]),
        ({}, "valid", ["'valid'", "validation", "did you mean"]),
        ({"validation": 20}, "train", ["data.validation=20", "20 images"]),
        ({"validation": 1.5}, "train", ["data.validation=1.5", "fraction"]),
        ({"validation": -1}, "train", ["data.validation=-1"]),
        ({"validation": True}, "train", ["data.validation=True"]),
        ({"channels": 2}, "train", ["data.channels=2", "1", "3"]),
        ({"size": 0}, "train", ["data.size=0"]),
        ({"size": "64"}, "train", ["data.size='64'"]),
        ({"seed": -1}, "train", ["data.seed=-1"]),
        ({"n": 0}, "train", ["data.n=0"]),
    ],
)
def test_usage_errors_name_the_key(arguments: dict, split: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as error:
        FakeImages(**{"n": 20, "size": 4, **arguments}).split(split)
    assert "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_message_gives_the_width_of_a_picture_first(tmp_path) -> None:
    """As its viewers do, and everywhere alike: of what was read, and of what a model refuses."""
    from PIL import Image

    from gancli.models.dcgan import DCGAN
    from gancli.models.vqvae import check_sides

    for i in range(4):
        Image.new("L", (17, 13), i).save(tmp_path / f"{i}.png")
    source = FolderImages(str(tmp_path), validation=0)
    spec = source.split("train").spec
    assert (spec.height, spec.width) == (13, 17) and "images of 17x13 grey" in source.notes()[0]
    for refuse in (DCGAN, partial(check_sides, name="VQVAE")):
        with pytest.raises(UsageError, match="17x13"):
            refuse(spec)


def test_a_split_that_nothing_can_be_held_out_for_needs_more_images(tmp_path) -> None:
    from PIL import Image

    Image.new("L", (8, 8)).save(tmp_path / "0.png")
    with pytest.raises(UsageError, match="no validation split, only train of 1 image, of which none") as error:
        FolderImages(str(tmp_path)).split("validation")
    assert "data.validation" not in str(error.value)
