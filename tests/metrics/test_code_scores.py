"""Scores of models of codes and of reconstructions, against sums by hand."""

import numpy as np
import pytest
import torch

from gancli.data.digits import Digits
from gancli.errors import UsageError
from gancli.metrics.features import Pixels
from gancli.metrics.raw import RawPixels
from gancli.metrics.scorer import Scorer
from gancli.models.held_out import HeldOut

IMAGES = Digits().split("test")


def scorer(*metrics: str, features=None) -> Scorer:
    return Scorer(
        metrics, IMAGES, features or Pixels(), batch_size=50, device=torch.device("cpu"), splits=Digits().split
    )


def said(maps=None, **also) -> HeldOut:
    return HeldOut(lambda image, label: pytest.fail("nobody asked for it"), "bound", 256, also=also, maps=maps or {})


def test_the_perplexity_is_that_of_all_codes_of_the_split():
    def codes(image, label):
        return torch.nn.functional.one_hot(label, 12) * 3.0

    found = scorer("perplexity").score(None, said({"": 12}, codes=codes)).values
    p = np.bincount(IMAGES.labels) / len(IMAGES)
    assert found["perplexity"] == pytest.approx(float(np.exp(-(p * np.log(p)).sum())), rel=1e-9)
    assert (found["codes_used"], found["codes"]) == (10, 12) and len(found) == 3
    found = scorer("perplexity").score(None, said({"top": 4, "bottom": 8}, codes=codes)).values
    assert (found["codes_used_top"], found["codes_top"], found["codes_used_bottom"]) == (4, 4, 6)
    q = p[:4] / p[:4].sum()
    assert found["perplexity_top"] == pytest.approx(float(np.exp(-(q * np.log(q)).sum())), rel=1e-9)
    assert len(found) == 6


def test_the_nats_of_codes_are_those_of_each_map_and_their_sum():
    def nats(image, label):
        return torch.stack([label.to(image.dtype), 2 + 0 * label.to(image.dtype)], 1)

    found = scorer("code_nats").score(None, said({"top": 3, "bottom": 3}, code_nats=nats)).values
    mean = IMAGES.labels.mean()
    assert found["code_nats"] == pytest.approx(mean + 2) == pytest.approx(found["code_nats_top"] + 2)
    assert found["code_nats_bottom"] == 2
    error = IMAGES.labels.std(ddof=1) / len(IMAGES) ** 0.5
    assert found["code_nats_se"] == pytest.approx(error, rel=1e-6)
    alone = scorer("code_nats").score(None, said({"": 3}, code_nats=lambda image, label: nats(image, label)[:, :1]))
    assert [*alone.values] == ["code_nats", "code_nats_se"] and alone.values["code_nats"] == pytest.approx(mean)


def test_psnr_and_absolute_errors_are_means_over_images():
    def errors(image, label):
        return torch.stack([label.to(image.dtype), 10 + label.to(image.dtype)], 1)

    found = scorer("psnr").score(None, said(errors=errors)).values
    assert found["reconstruction_l1"] == pytest.approx(IMAGES.labels.mean()) == pytest.approx(found["psnr"] - 10)


def test_rfid_is_zero_for_perfect_reconstructions_and_a_squared_shift_for_darker_ones(tmp_path, monkeypatch):
    monkeypatch.setenv("GANCLI_CACHE", str(tmp_path))
    features = RawPixels()
    features.prepare(lambda: IMAGES, torch.device("cpu"))
    judge = scorer("rfid", features=features)
    judge.check(said(pictures=lambda image, label: image), "thing", labelled=False)
    same, white = (
        judge.score(None, said(pictures=lambda image, label, f=f: f(image))).values["rfid"]
        for f in (lambda image: image, torch.ones_like)
    )
    assert same == pytest.approx(0, abs=1e-6) and white > 1


@pytest.mark.parametrize(
    "metric, wants",
    [("perplexity", "maps of codes"), ("code_nats", "maps of codes"), ("psnr", "latent"), ("rfid", "latent")],
)
def test_models_that_do_not_say_it_are_refused(metric, wants):
    for likelihood in (None, HeldOut(lambda image, label: image, "exact", 256)):
        with pytest.raises(UsageError, match=f"metrics: {metric} needs a .*{wants}.* thing is none"):
            scorer(metric).check(likelihood, "thing", labelled=False)
