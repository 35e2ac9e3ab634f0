"""Uniform dequantisation: where the noise comes in, what it bounds, and who refuses it."""

import itertools
import math

import numpy as np
import pytest
import torch
from helpers import run

from gancli.config import build_data, compose
from gancli.data.digits import Digits
from gancli.data.levels import Quantised
from gancli.data.loader import Loader
from gancli.data.spec import ImageSpec, dequantised, scaled
from gancli.errors import UsageError
from gancli.metrics.features import Pixels
from gancli.metrics.scorer import Scorer
from gancli.models.held_out import HeldOut
from gancli.models.kde import KDE
from gancli.models.pixelcnn import PixelCNN
from gancli.nn.likelihoods import Categorical
from gancli.verbs.evaluate.run import evaluate

CPU = torch.device("cpu")
TWO = ImageSpec(1, 1, 2, levels=4, dequantised=True)  # two pixels of four levels


def grid(levels: torch.Tensor) -> torch.Tensor:
    """0 .. 3 -> bytes, as Quantised spreads two bits."""
    return (levels * 85).to(torch.uint8)


@pytest.mark.parametrize("levels", [2, 8, 256])
def test_each_level_is_spread_uniformly_over_its_share(levels):
    level = torch.arange(levels).repeat(20_000 // levels)
    pixels = (level * (255 / (levels - 1))).round().to(torch.uint8)
    y = (dequantised(scaled(pixels), levels, torch.Generator().manual_seed(0)) + 1) / 2 * levels - level
    assert y.min() > -1e-4 and y.max() < 1 + 1e-4
    assert abs(y.mean() - 1 / 2) < 5 / math.sqrt(12 * len(y)) and abs(y.var() - 1 / 12) < 0.003


def test_the_bytes_stay_and_batches_have_new_noise_that_resumes():
    grey, images = Digits().split("train"), Quantised(Digits(), dequantise="uniform").split("train")
    assert images.fingerprint == grey.fingerprint and images.spec.dequantised and images.spec.levels == 256
    assert images.levels == "256 levels, uniformly dequantised"
    loader, other = (Loader(images, len(images), device=CPU, seed=3) for _ in range(2))
    first, second = loader.next().image, loader.next().image
    assert len(first.unique()) > 10_000 and -1 <= first.min() and first.max() <= 1
    byte = lambda x: ((x + 1) * 128).floor().clamp(0, 255).sum((1, 2, 3)).sort().values  # noqa: E731
    assert (byte(first) - byte(second)).abs().max() <= 1  # one epoch each: the same images under other noise
    assert not torch.equal(first.sum((1, 2, 3)).sort().values, second.sum((1, 2, 3)).sort().values)
    other.next()
    state = other.state_dict()
    other = Loader(images, len(images), device=CPU, seed=0)
    other.load_state_dict(state)
    assert torch.equal(other.next().image, second)


def test_the_config_keys_reach_it_and_contradictions_are_refused():
    node = {"_target_": "gancli.data.digits.Digits", "bits": 8, "binarise": None, "dequantise": None}
    assert isinstance(build_data(node)[0], Digits)
    images = build_data(node | {"bits": 5, "dequantise": "uniform"})[0].split("test")
    assert images.spec.dequantised and images.spec.levels == 32
    with pytest.raises(UsageError, match="data.dequantise='gaussian'"):
        Quantised(Digits(), dequantise="gaussian")
    with pytest.raises(UsageError, match="one of them"):
        Quantised(Digits(), binarise="dynamic", dequantise="uniform")


def test_a_probability_of_levels_refuses_it():
    with pytest.raises(UsageError, match="data.dequantise=null"):
        PixelCNN(TWO, Categorical)
    with pytest.raises(UsageError, match="binary images"):
        KDE(ImageSpec(1, 1, 2, levels=2, dequantised=True), kernel="aitchison_aitken")
    images = Quantised(Digits(), dequantise="uniform")
    scorer = Scorer(["nll"], images.split("test"), Pixels(), batch_size=50, device=CPU, splits=images.split)
    with pytest.raises(UsageError, match="does not support data.dequantise=uniform"):
        scorer.check(HeldOut(lambda x, y: x, "exact", 256), "thing", labelled=False)


@pytest.mark.parametrize("kernel,h", [("gaussian", 0.15), ("box", 0.6)])
def test_the_mean_log_density_bounds_the_probability_of_levels(kernel, h):
    """P(level) is the density's integral over the level's share; all of them sum to at most 1."""
    train = grid(torch.tensor([[0, 1], [1, 1], [3, 2], [2, 3]])).view(-1, 1, 1, 2)
    model = KDE(TWO, kernel=kernel, bandwidth=h)
    model.fit_data(train)
    steps = (torch.arange(64, dtype=torch.float64) + 0.5) / 64  # midpoints within a share
    inner = torch.cartesian_prod(steps, steps)
    total = 0.0
    for level in itertools.product(range(4), repeat=2):
        y = (torch.tensor(level) + inner) / 4
        log_p = model.log_prob((y * 2 - 1).view(-1, 1, 1, 2))
        probability = log_p.exp().mean().item() / 16
        total += probability
        bound = log_p.mean().item() - math.log(16)  # levels to the power of pixels
        assert bound == -math.inf or bound <= math.log(probability) + 1e-9
    assert 0.5 < total < 1 + 1e-6


def test_bandwidths_are_chosen_on_noisy_images():
    """Equal levels make a spike of any narrowness likely; noise within the level's share does not."""
    pixels = grid(torch.randint(4, (400, 1, 1, 2), generator=torch.Generator().manual_seed(0)))
    narrow, wide = (KDE(ImageSpec(1, 1, 2, levels=4, dequantised=spread), bandwidth="loo") for spread in (False, True))
    for model in (narrow, wide):
        model.fit_data(pixels)
    assert narrow.bandwidth == narrow.kernel.grid[0] and wide.bandwidth > 0.05


def test_eval_reports_the_bound_beside_the_density(tmp_path):
    run(tmp_path, "data.dequantise=uniform", "model.bandwidth=0.1", model="kde")
    score = [f"ckpt='{tmp_path}'", "runtime=cpu", "metrics=[nll]"]
    found, again = (evaluate(compose("eval", [*score, f"batch_size={size}"])) for size in (50, 17))
    assert found == pytest.approx(again, rel=1e-6)  # one noise, whatever the batches
    bits = (found["nll_density"] / 64 + math.log(256)) / math.log(2)
    assert found["bits_per_dim_bound"] == pytest.approx(bits) and "bits_per_dim" not in found
    assert np.isfinite(found["nll_se"])
