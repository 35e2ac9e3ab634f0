"""Scores of a pyramid of GANs: those of the chain, as of any model, and those of the finest level on real images."""

import pytest
import torch
from helpers import compose, overrides

from gancli.data.source import permutation
from gancli.data.spec import scaled
from gancli.metrics.scoring.base import known_better
from gancli.nn import laplacian
from gancli.training.build import build
from gancli.training.ema import EMA


def test_refined_values_stand_beside_those_of_the_chain():
    more = ["features=classifier", "eval.every=16", "eval.n=16", "eval.metrics=[fid,precision_recall]", "data.n=64"]
    parts = build(compose("train", overrides("lapgan", *more, "eval.split=test")))
    (subject,) = parts.scoring.subjects
    for parameter in parts.model.generator.parameters():
        torch.nn.init.zeros_(parameter)  # refined images are the blurred training images
    with EMA(parts.model, 0).sampling() as model:
        images = torch.cat([batch for batch, _ in subject.refined(model, 3)])
        values = subject.score(model, seed=3).values
        alone = type(subject).__mro__[1].score(subject, model, seed=3).values
    train = parts.source.split("train")
    real = scaled(torch.from_numpy(train.pixels[permutation(len(train), 3)[:16]]))
    blurred = laplacian.up(laplacian.down(real))
    assert (images - (blurred + 1) * 127.5).abs().max() <= 0.51
    assert {key: values[key] for key in alone} == alone
    fid = subject.scorer.score([(images, None)]).values["fid"]
    assert values["refined_fid"] == pytest.approx(fid, rel=1e-5) and abs(fid - values["fid"]) > 1
    assert {f"refined_{key}" for key in alone} == {key for key in values if key.startswith("refined_")}
    assert subject.facts["refined"] and subject.name == ""
    assert known_better()["refined_fid"] is False and known_better()["refined_recall"] is True
