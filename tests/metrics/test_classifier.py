"""The classifier behind features=classifier: good, cached, repeatable, and without side effects on a run."""

import logging
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gancli.data.digits import Digits
from gancli.data.fake import FakeImages
from gancli.data.source import Images
from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.metrics import classifier
from gancli.metrics.classifier import Classifier

CPU = torch.device("cpu")


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What gancli's log says, whoever set it up."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logging.getLogger("gancli").addHandler(handler)
    yield lines
    logging.getLogger("gancli").removeHandler(handler)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("GANCLI_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def images() -> Images:
    return FakeImages(n=60, size=8, channels=1).split("train")


def prepared(images: Images, **settings: int) -> Classifier:
    features = Classifier(**{"epochs": 1, **settings})
    features.prepare(lambda: images, CPU)
    return features


def sha(images: Images, **settings: int) -> object:
    return prepared(images, **settings).protocol()["weights_sha256"]


def cached(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache" / "classifiers").iterdir())


def test_it_reads_digits() -> None:
    data = Digits()
    features = prepared(data.split("train"), epochs=12)
    test = data.split("test")
    x, logits = features(torch.from_numpy(test.pixels))
    assert x.shape == (len(test), features.dim) and x.min() >= 0 and x.dtype == logits.dtype == torch.float32
    right = (logits.argmax(1).numpy() == test.labels).mean()
    assert right > 0.95
    assert features.protocol()["held_out_accuracy"] > 0.9


def test_protocol_says_what_was_trained_on_what(images) -> None:
    facts = prepared(images, epochs=2, seed=5).protocol()
    assert facts["fingerprint"] == images.fingerprint and facts["trained_on"] == "fake train"
    assert (facts["images"], facts["epochs"], facts["seed"], facts["version"]) == (
        len(images),
        2,
        5,
        classifier.VERSION,
    )
    assert len(facts["weights_sha256"]) == 64


def test_it_is_trained_once(images, tmp_path, monkeypatch) -> None:
    first = prepared(images)
    assert len(cached(tmp_path)) == 1
    monkeypatch.setattr(classifier, "fit", lambda *args: pytest.fail("trained again"))
    second = prepared(images)
    assert first.protocol() == second.protocol()
    pixels = torch.from_numpy(images.pixels)
    assert all(torch.equal(a, b) for a, b in zip(first(pixels), second(pixels), strict=True))


def test_what_it_depends_on_gets_a_classifier_of_its_own(images, tmp_path) -> None:
    others = [sha(images), sha(images, seed=1), sha(images, epochs=2), sha(replace(images, fingerprint="other"))]
    assert len(cached(tmp_path)) == 4
    assert len(set(others)) == 3  # the same pixels under another fingerprint train to the same weights


def test_training_again_gives_the_same_weights(images, tmp_path) -> None:
    first = sha(images)
    cached(tmp_path)[0].unlink()
    assert sha(images) == first


def test_a_damaged_cache_is_trained_anew(images, tmp_path, logged) -> None:
    first = sha(images)
    (file,) = cached(tmp_path)
    for damage in (b"", file.read_bytes()[:500], b"not a zip at all"):
        file.write_bytes(damage)
        assert sha(images) == first
        assert "damaged" in str(logged)
        logged.clear()
    torch.save({"state": {"x": torch.zeros(1)}, "held_out_accuracy": 1.0}, file)
    assert sha(images) == first
    saved = torch.load(file, weights_only=True)
    other = {name: value + 1 if value.is_floating_point() else value for name, value in saved["state"].items()}
    del other[list(other)[-1]]  # the others fit, and load_state_dict copies them before it complains
    torch.save(saved | {"state": other}, file)
    assert sha(images) == first


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(images, tmp_path, logged) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    features = prepared(images)
    assert "could not be cached" in str(logged)
    assert features(torch.from_numpy(images.pixels))[1].shape == (len(images), 10)


def test_a_run_around_it_notices_nothing(images) -> None:
    torch.manual_seed(7), np.random.seed(7), random.seed(7)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        inside = prepared(images)
        x, _ = inside(torch.from_numpy(images.pixels))
        assert not torch.is_grad_enabled() and torch.is_autocast_enabled("cpu")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all() and random.getstate() == before[2]
    assert x.dtype == torch.float32 and not x.requires_grad
    (Path(classifier.cache_dir()) / "classifiers").rename(classifier.cache_dir() / "away")
    torch.manual_seed(8)  # another global state, no autocast: the same classifier
    assert sha(images) == inside.protocol()["weights_sha256"]


@pytest.mark.parametrize("labels", [None, "one"])
def test_data_without_labels_is_refused_in_one_line(images, labels) -> None:
    bare = replace(
        images, labels=labels and np.zeros(60, np.int64), spec=replace(images.spec, num_classes=int(bool(labels)))
    )
    with pytest.raises(UsageError, match="features=inception") as refused:
        prepared(bare)
    assert "fake" in str(refused.value) and "\n" not in str(refused.value)


def test_training_for_no_epoch_is_refused() -> None:
    with pytest.raises(UsageError, match="epochs=0"):
        Classifier(epochs=0)


@pytest.mark.parametrize(
    "shape", [(1, 8, 8), (3, 16, 16), (1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 128, 128), (3, 20, 36)]
)
def test_it_fits_every_size(shape) -> None:
    net = classifier.network(ImageSpec(*shape, num_classes=7), seed=0).eval()
    images = torch.randint(0, 256, (2, *shape), dtype=torch.uint8)
    assert net[:-1](classifier.scaled(images)).shape == (2, 128)
    assert net(classifier.scaled(images)).shape == (2, 7)
    assert sum(p.numel() for p in net.parameters()) < 500_000


@pytest.mark.parametrize("n", [1, 3, 19, 140])
def test_it_trains_on_few_images(n) -> None:
    few = FakeImages(n=n, size=8, channels=1, validation=0).split("train")
    held = prepared(few).protocol()["held_out_accuracy"]
    assert held is None if n < 20 else 0 <= held <= 1
