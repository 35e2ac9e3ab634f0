"""Stacked MNIST: what a stack is, and that a classifier of digits counts its thousand modes."""

import numpy as np
import pytest
import torch
from helpers import NoHostSync, compose
from pictures import write_mnist

from gancli.config import build_data
from gancli.data.digits import Digits
from gancli.data.loader import Loader
from gancli.data.stacked import Stacked
from gancli.errors import UsageError
from gancli.metrics.class_balance import kl_uniform
from gancli.metrics.scorer import Scorer
from gancli.metrics.stacked import StackedClassifier

CPU = torch.device("cpu")


def stacked(**more) -> Stacked:
    return Stacked(Digits(), **{"n": 3000, "n_test": 1500, **more})


def number_of(pixels: np.ndarray, grey) -> list[int]:
    """The label of each colour, by looking the picture up among the grey ones."""
    known = {image.tobytes(): int(label) for image, label in zip(grey.pixels, grey.labels)}
    return [100 * r + 10 * g + b for r, g, b in ([known[colour.tobytes()] for colour in image] for image in pixels)]


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_the_fixed_stacks_are_three_images_each_and_use_all_of_them(split):
    source = stacked()
    images, grey = source.split(split), source.source.split(split)
    assert images.pixels.shape == ((3000 if split == "train" else 1500), 3, 8, 8) and images.spec.num_classes == 1000
    assert images.labels.tolist() == number_of(images.pixels, grey) and images.class_names[123] == "1-2-3"
    used = {colour.tobytes() for image in images.pixels for colour in image}
    assert used == {image.tobytes() for image in grey.pixels}
    assert images.fingerprint == stacked().split(split).fingerprint != stacked(seed=1).split(split).fingerprint


def test_training_stacks_anew_and_goes_on_bit_for_bit():
    images, grey = stacked().split("train"), Digits().split("train")
    whole = Loader(images, 16, device=CPU, seed=5)
    batches = [whole.next() for _ in range(3)]
    for batch in batches:
        bytes_ = ((batch.image + 1) * 127.5).round().to(torch.uint8).numpy()
        assert batch.image.shape == (16, 3, 8, 8) and batch.label.tolist() == number_of(bytes_, grey)
    assert not torch.equal(batches[0].image, batches[1].image)
    first, second = (Loader(images, 16, device=CPU, seed=seed) for seed in (5, 6))
    first.next(), first.next()
    second.load_state_dict(first.state_dict())
    assert torch.equal(second.next().image, batches[2].image)
    with NoHostSync():
        whole.next()


def test_the_classifier_names_each_colour_and_finds_as_many_modes_as_real_stacks_have():
    source = stacked()
    features = StackedClassifier(epochs=10)
    features.prepare(lambda: source.split("train"), CPU)
    images = source.split("test")
    found, logits = features(torch.from_numpy(images.pixels[:300]))
    assert found.shape == (300, 384) and logits.shape == (300, 1000)
    assert logits.exp().sum(1).numpy() == pytest.approx(1, abs=1e-4)
    for colour in range(3):  # each colour by itself, by the classifier of grey images
        alone, one = features.grey(torch.from_numpy(images.pixels[:300, colour : colour + 1]))
        assert torch.equal(logits.argmax(1) // 10 ** (2 - colour) % 10, one.argmax(1))
        assert torch.allclose(found[:, 128 * colour : 128 * (colour + 1)], alone, atol=1e-4)
    right = (logits.argmax(1).numpy() == images.labels[:300]).mean()
    assert right > 0.85
    scorer = Scorer(["classes"], images, features, n=1500, device=CPU, splits=source.split)
    values = scorer.score([(torch.from_numpy(images.pixels), torch.from_numpy(images.labels))]).values
    # 1500 draws of 1000 classes: 1000 (1 - exp(-1.5)) = 777 are met, and KL from uniform is about what 1500 draws give.
    assert abs(values["modes"] - 777) < 40 and values["mode_jsd"] == 0 and values["accuracy"] > 0.85
    once = np.bincount(np.random.RandomState(0).randint(0, 1000, 1500), minlength=1000) / 1500
    expected = sum(p * np.log(1000 * p) for p in once if p)
    assert values["reverse_kl"] == pytest.approx(expected, rel=0.15)


def test_as_many_uniform_labels_as_published_meet_every_mode_and_one_label_one():
    """26,000 samples, as VEEGAN scores: KL is (K - 1) / 2n in expectation, .019."""
    drawn = torch.from_numpy(np.random.RandomState(0).randint(0, 1000, 26_000)).bincount(minlength=1000)
    assert int((drawn > 0).sum()) == 1000 and kl_uniform(drawn) == pytest.approx(0.019, abs=0.003)
    collapsed = torch.full((26_000,), 7).bincount(minlength=1000)
    assert int((collapsed > 0).sum()) == 1 and kl_uniform(collapsed) == pytest.approx(np.log(1000))


def test_the_shipped_data_is_made_of_mnist(tmp_path, monkeypatch):
    monkeypatch.setenv("GANCLI_DATA", str(tmp_path))
    write_mnist(tmp_path, "MNIST")
    source, _ = build_data(compose("train", ["data=stacked_mnist", "data.n=50", "data.n_test=20"]).data)
    assert source.name == "stacked_mnist" and source.split("train").spec.shape == (3, 28, 28)
    assert len(source.split("test")) == 20


def test_what_cannot_be_stacked_or_is_not_is_refused():
    with pytest.raises(UsageError, match="digits must be grey and labelled"):
        Stacked(Digits(channels=3)).split("train")
    with pytest.raises(UsageError, match="features=stacked needs stacked images, which digits does not have"):
        StackedClassifier().prepare(lambda: Digits().split("train"), CPU)
