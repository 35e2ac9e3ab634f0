"""Parzen likelihood against a twin in plain loops, and on MNIST against the number that was measured."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT

from gancli.metrics.base import GENERATED, REAL, VALIDATION, Batch, SetInfo
from gancli.metrics.kept import KeptPixels
from gancli.metrics.parzen import SIGMAS, Parzen, log_likelihood, width

MNIST = next((p for p in (ROOT.parent / "shared", Path("/work/shared")) if (p / "data/MNIST/raw").is_dir()), None)


def images(n: int, seed: int) -> torch.Tensor:
    return torch.randint(0, 256, (n, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def kept(pixels: torch.Tensor) -> dict:
    statistic = KeptPixels.of(SetInfo(len(pixels), 0, 0, torch.device("cpu")))
    for part in pixels.split(7):
        statistic.add(Batch(part, None, None, None))
    return {KeptPixels: statistic}


def slow(x: list[float], centers: list[list[float]], sigma: float) -> float:
    total = 0.0
    for center in centers:
        distance = sum((a - b) ** 2 for a, b in zip(x, center))
        total += math.exp(-distance / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi)) ** len(x)
    return math.log(total / len(centers))


def test_equals_loops_over_images_and_pixels() -> None:
    generated, test, validation = images(30, 0), images(20, 1), images(10, 2)
    flat = [(x.flatten(1).double() / 255).tolist() for x in (generated, test, validation)]
    means = [np.mean([slow(x, flat[0], float(s)) for x in flat[2]]) for s in SIGMAS]
    sigma = float(SIGMAS[int(np.argmax(means))])
    expected = np.array([slow(x, flat[0], sigma) for x in flat[1]])
    sets = {GENERATED: kept(generated), REAL: kept(test), VALIDATION: kept(validation)}
    values = Parzen()(sets)
    assert Parzen().details(sets)["sigma"] == pytest.approx(sigma) and 0.1 < sigma < 1
    assert values["parzen"] == pytest.approx(expected.mean(), rel=1e-9)
    assert values["parzen_se"] == pytest.approx(expected.std() / math.sqrt(20), rel=1e-9)
    assert "grows with their number" in Parzen().warn(sets) and "30 generated" in Parzen().warn(sets)


def test_one_center_is_one_gaussian() -> None:
    x, center = torch.zeros(3, 5, dtype=torch.float64), torch.full((1, 5), 0.1, dtype=torch.float64)
    expected = -0.05 / (2 * 0.2**2) - 5 * math.log(0.2 * math.sqrt(2 * math.pi))
    assert log_likelihood(x, center, 0.2).tolist() == pytest.approx([expected] * 3, rel=1e-9)


def test_only_the_first_thousand_validation_images_choose_the_width() -> None:
    generated = images(20, 0)
    near, far = generated[:1].repeat(1000, 1, 1, 1), 255 - images(4000, 1)
    sets = {GENERATED: kept(generated), REAL: kept(images(5, 3)), VALIDATION: kept(torch.cat([near, far]))}
    assert Parzen().details(sets)["sigma"] == pytest.approx(0.1)


@pytest.mark.skipif(MNIST is None, reason="no ../shared/data/MNIST")
def test_training_images_as_the_generator_on_mnist() -> None:
    """The first 10,000 training images against test images; width by the first of the last 10,000.

    Of all 10,000 test images the mean is 241.19 with a standard error of 2.13; of 1,500 it lies within three of theirs.
    """
    read = lambda name: np.fromfile(MNIST / "data/MNIST/raw" / name, np.uint8)[16:].reshape(-1, 784)  # noqa: E731
    train, test = (torch.from_numpy(read(f"{name}-images-idx3-ubyte")).double() / 255 for name in ("train", "t10k"))
    sigma = width(train[:10_000], train[50_000:51_000])
    likelihoods = log_likelihood(test[::6][:1500], train[:10_000], sigma)
    assert sigma == pytest.approx(0.16681, abs=1e-5)
    error = likelihoods.std().item() / math.sqrt(1500)
    assert abs(likelihoods.mean().item() - 241.19) < 3 * error
    assert error * math.sqrt(0.15) == pytest.approx(2.13, rel=0.1)
    for row in (0, 1499):  # by differences: no matrix product, no blocks
        exponents = -(train[:10_000] - test[6 * row]).square().sum(1) / (2 * sigma**2)
        density = exponents.logsumexp(0) - math.log(10_000) - 784 * math.log(sigma * math.sqrt(2 * math.pi))
        assert likelihoods[row].item() == pytest.approx(density.item(), rel=1e-9)
