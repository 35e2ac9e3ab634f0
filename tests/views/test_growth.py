"""The levels of a network that grows: what a row shows, how large, with which head, and where it is found again."""

import numpy as np
import pytest
import torch
from helpers import compose, overrides
from PIL import Image

from gancli.data.spec import ImageSpec
from gancli.models.dcgan import DCGAN
from gancli.models.progan import ProGAN
from gancli.training.loop import train
from gancli.verbs.report.runs import read
from gancli.verbs.sample.run import sample
from gancli.views.base import RunData
from gancli.views.growth import GAP, MARGIN, GrowthRows, heads

GROWN = ["model.grown=0.5", "images=64", "samples.every=16"]


def drawn(share: float) -> tuple[ProGAN, np.ndarray, list[torch.Tensor]]:
    torch.manual_seed(0)
    model = ProGAN(ImageSpec(1, 28, 28), latent_dim=4, width=2, grown=0.4)
    model.enter(model.stage(share)), model.advance(share)
    picture = GrowthRows(3).draw(model, RunData(lambda: None), n=9, seed=0, batch_size=8)[""]
    assert len(picture.names) == 3 * (model.grower.stage.level + 1)
    return model, picture.image, list(picture.raw)


def test_each_level_has_its_size_and_the_picture_does_not_change_its_own():
    model, first, images = drawn(0.0)
    assert [each.shape for each in images] == [(1, 7, 7)] * 3 and heads(model) == ["7x7 from 0% on"]
    model, second, images = drawn(0.35)
    assert [each.shape[-1] for each in images] == [7] * 3 + [14] * 3 + [28] * 3
    assert heads(model) == ["7x7 from 0% on", "14x14 from 20% on", "28x28 fading in, 50%"]
    model, third, images = drawn(1.0)
    assert heads(model)[2] == "28x28 from 40% on"
    assert first.shape == second.shape == third.shape == (GAP + 2 * 49 + 3 * GAP, MARGIN + GAP + 3 * (56 + GAP), 3)
    assert (first[30:, MARGIN:] == 255).all() and not (third[60:, MARGIN:] == 255).all()
    large = images[6].repeat_interleave(2, 1).repeat_interleave(2, 2)[0].numpy()  # twice as large, as all levels
    assert np.array_equal(third[-GAP - 56 : -GAP, MARGIN + GAP : MARGIN + GAP + 56, 0], large)


def test_only_models_that_grow_have_levels_to_show():
    spec = ImageSpec(1, 16, 16)
    still = ProGAN(spec, width=2, grown=0.0)
    assert not GrowthRows.suits(still) and not GrowthRows.suits(DCGAN(spec, width=2))
    assert still.own_views() == ("grid",) and ProGAN(spec, width=2).own_views() == ("grid", "growth")
    with pytest.raises(ValueError, match="columns=11"):
        GrowthRows(11)


def test_training_sample_and_report_show_growth(tmp_path, cli):
    train(compose("train", overrides("progan", *GROWN)), tmp_path / "run")
    pictures = sorted(path.name for path in (tmp_path / "run" / "samples").glob("*-growth.*"))
    assert pictures[-1] == "run-growth.gif" and len(pictures) == 6
    sample(compose("sample", [f"ckpt={tmp_path / 'run'}", "view=growth", f"out={tmp_path / 'out'}", "runtime=cpu"]))
    assert {path.parent.name for path in (tmp_path / "out").glob("*/*.png")} == {"4x4", "8x8"}
    with Image.open(tmp_path / "out" / "grid.png") as a, Image.open(read(tmp_path / "run").growth()) as b:
        assert a.size[1] == b.size[1]
    assert cli("report", f"runs={tmp_path / 'run'}", f"out={tmp_path / 'report'}").code == 0
    assert "<h3>Growth</h3>" in (tmp_path / "report" / "report.html").read_text()
