"""Sharpness against a twin, a closed form, blur and noise; and the scores of models without a likelihood."""

import numpy as np
import pytest
import torch
from helpers import compose, run
from noise import REAL
from torch.nn.functional import avg_pool2d

from gancli.errors import UsageError
from gancli.metrics.features import Pixels
from gancli.metrics.scorer import Scorer
from gancli.metrics.sharpness import laplacian_variance
from gancli.verbs.evaluate.run import evaluate


def twin(image: np.ndarray) -> float:
    """The variance of the Laplacian of (C, H, W), written out, a mean over channels."""
    found = []
    for x in image.astype(float) / 255:
        values = [
            x[i - 1, j] + x[i + 1, j] + x[i, j - 1] + x[i, j + 1] - 4 * x[i, j]
            for i in range(1, x.shape[0] - 1) for j in range(1, x.shape[1] - 1)
        ]  # fmt: skip
        found.append(np.var(values))
    return float(np.mean(found))


def scorer(**kwargs) -> Scorer:
    return Scorer(["sharpness"], REAL, Pixels(), device=torch.device("cpu"), splits=lambda name: REAL, **kwargs)


def sharpness(pixels: torch.Tensor) -> float:
    return scorer(n=len(pixels)).score([(pixels, None)]).values["sharpness"]


def test_it_is_the_variance_of_a_twin_and_of_a_checkerboard():
    pixels = torch.from_numpy(np.random.RandomState(0).randint(0, 256, (5, 3, 6, 7), np.uint8))
    assert laplacian_variance(pixels).tolist() == pytest.approx([twin(each.numpy()) for each in pixels], rel=1e-12)
    board = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 255
    assert laplacian_variance(board[None, None].byte()).item() == pytest.approx(16)  # half +4, half -4
    ramp = torch.arange(0, 80, 10).expand(1, 1, 8, 8).byte()
    assert laplacian_variance(ramp).item() == pytest.approx(0, abs=1e-20)


def test_blur_takes_it_away_noise_adds_to_it_and_the_data_has_one():
    real = torch.from_numpy(REAL.pixels)
    assert sharpness(real) == pytest.approx(1) and scorer(floor=True).floor()[1]["sharpness"] == pytest.approx(
        1, abs=0.1
    )
    blurred = avg_pool2d(real.float(), 3, 1, 1).round().byte()
    assert sharpness(blurred) < 0.3 and sharpness(128 + (blurred - 128.0).mul(0.1).byte()) < 0.1
    grey = (real.float() / 2 + 64).byte()
    noisy = (grey.float() + 60 * torch.randn(grey.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 255)
    assert sharpness(grey) < sharpness(noisy.byte())
    with pytest.raises(UsageError, match="no edges at all"):
        flat = Scorer(
            ["sharpness"], type(REAL)(**{**vars(REAL), "pixels": REAL.pixels * 0}), Pixels(),
            device=torch.device("cpu"), splits=lambda name: REAL,
        )  # fmt: skip
        flat.score([(real, None)])


@pytest.mark.parametrize("model", ["vqgan", "vae_gan"])
def test_models_between_vaes_and_gans_are_scored_by_reconstructions_and_by_no_bound(model, tmp_path):
    run(tmp_path, "images=32", "data.n_test=24", "features=classifier", "features.epochs=1", model=model)
    words = [f"ckpt='{tmp_path}'", "runtime=cpu", "n=20", "floor=false"]
    own = "perplexity" if model == "vqgan" else "active_units"
    values = evaluate(compose("eval", [*words, f"metrics=[rsharpness,sharpness,rfid,psnr,{own}]"]))
    assert {"rsharpness", "sharpness", "rfid", "psnr", own} <= values.keys()
    assert not {"nll", "nll_bound", "elbo", "iwae"} & values.keys()
    for name, says in (("nll", "needs a model with a likelihood"), ("elbo", "model=vae, with a likelihood of pixels")):
        with pytest.raises(UsageError, match=says):
            evaluate(compose("eval", [*words, f"metrics=[{name}]"]))
