"""The spread told from one set of images against the spread of many sets, and what the card says of it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import compose
from noise import drawn, scorer, stream

from gancli.data.digits import Digits
from gancli.data.source import Images
from gancli.metrics import scorecard
from gancli.verbs.evaluate.run import evaluate

METRICS = ["fid", "is", "precision_recall", "classes", "memorisation", "fid_per_class"]
SMOOTH = ("fid", "is", "precision", "auth_pct", "fid_per_class")


def worse(seed: int) -> Images:
    """Darker images, of which two classes are rare: no value is at its best, where it would change by squares only."""
    images = drawn(1300, seed)
    keep = np.flatnonzero((images.labels < 3) | (np.arange(1300) % 4 == 0))[:600]
    return replace(images, pixels=images.pixels[keep] // 4 * 3, labels=images.labels[keep])


@pytest.fixture(scope="module")
def found() -> list:
    """Thirty sets of 600 from one source, the first five with their own estimate of the spread."""
    metrics = scorer(METRICS)
    return [metrics.score(stream(worse(100 + i)), halves=20 if i < 5 else 0) for i in range(30)]


@pytest.mark.parametrize("key", SMOOTH)
def test_halves_of_one_set_spread_as_sets_do(found, key) -> None:
    true = np.std([each.values[key] for each in found], ddof=1)
    told = np.mean([each.deviations[key] for each in found[:5]])
    assert true > 0 and 0.6 < told / true < 1.6


def test_at_the_optimum_the_interval_is_too_wide_never_too_narrow() -> None:
    """FID of a perfect generator is a sum of squares: its spread falls as 1/n, and halves tell the double."""
    metrics = scorer(["fid"])
    scores = [metrics.score(stream(drawn(600, 200 + i)), halves=20 if i < 5 else 0) for i in range(30)]
    true = np.std([each.values["fid"] for each in scores], ddof=1)
    assert 0.9 < np.mean([each.deviations["fid"] for each in scores[:5]]) / true < 2.6


def test_what_counts_distinct_things_has_no_interval(found) -> None:
    assert not {"modes", "duplicate_rate", "is_std"} & found[0].deviations.keys()
    assert found[-1].deviations == {}


def test_values_do_not_change_and_the_draws_repeat(found) -> None:
    again = scorer(METRICS).score(stream(worse(100)), halves=20)
    assert again.deviations == found[0].deviations
    assert again.values == scorer(METRICS).score(stream(worse(100))).values


def test_metrics_that_need_more_than_a_half_are_left_out() -> None:
    assert scorer(["is", "fid"], n=16).score(stream(drawn(16, 0)), halves=3).deviations.keys() == {"fid"}


def test_an_interval_is_two_deviations_to_each_side() -> None:
    assert scorecard.intervals({"fid": 10.0, "is": 2.0}, {"fid": 1.0}) == {
        "fid": {"std": 1.0, "low": 8.04, "high": 11.96}
    }


def test_the_card_of_pictures_holds_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("GANCLI_OUTPUTS", str(tmp_path / "outputs"))
    np.savez(tmp_path / "some.npz", images=torch.from_numpy(Digits().split("train").pixels[:80]).permute(0, 2, 3, 1))
    settings = [f"images={tmp_path / 'some.npz'}", "data=digits", "features.epochs=1", "runtime=cpu", "metrics=[fid]"]
    values = evaluate(compose("eval", settings))
    (file,) = (tmp_path / "outputs" / "images" / "some").glob("*.json")
    spread = json.loads(file.read_text())["spread"]["fid"]
    assert spread["low"] < values["fid"] < spread["high"] and spread["std"] > 0
    assert evaluate(compose("eval", [*settings, "bootstrap=0"])) == values
    assert json.loads(file.read_text())["spread"] == {}
