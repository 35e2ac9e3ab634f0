"""Every view of every model, in bfloat16, in which models draw on devices that compute in it."""

import pytest
import torch
from helpers import compose, distinct, overrides

from gancli import config
from gancli.models.base import Model
from gancli.models.latent import GaussianLatents
from gancli.training.build import build
from gancli.views import choice
from gancli.views.base import RunData
from gancli.views.interpolation import Interpolation


@pytest.mark.parametrize("name", distinct())
def test_a_model_is_shown_in_bfloat16_by_every_view_that_suits_it(name: str) -> None:
    """The views' own numbers are float32: a value between two bfloat16 ones had no type that PyTorch takes."""
    cfg = compose("train", overrides(name, "samples.every=0"))
    run = build(cfg)
    model: Model = run.model.eval()
    if name == "kde":
        pytest.skip("its samples are training images, which it gets later")
    views = {each: choice.build(each) for each in config.options("view")}
    suiting = {each: view for each, view in views.items() if view.suits(model)}
    assert suiting
    data = RunData(lambda: config.build_data(cfg.data)[0], ())
    if isinstance(model, GaussianLatents):
        suiting["images"] = Interpolation(images=[0, 1])
    for each, view in suiting.items():
        with torch.autocast("cpu", torch.bfloat16):
            drawn = view.draw(model, data, n=4, seed=0, batch_size=4)
        assert drawn, each
