"""A family of models from outside the package: 60 lines with a loss, a view and a scoring of their own.

It is trained, sampled, scored, reported and resumed by the command line, without a line of gancli changed.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import tensors
from PIL import Image

from gancli.training import checkpoint

CODE = '''
"""Independent Gaussian pixels, fitted by likelihood: a family with one model."""

import torch
from torch import Tensor, nn

from gancli.data.spec import Batch, quantise
from gancli.losses.base import Loss, Phase, Term
from gancli.metrics.scoring.base import scores
from gancli.metrics.scoring.samples import Drawn, Samples
from gancli.models.base import Model
from gancli.views.base import Picture, View
from gancli.views.grids import make_grid


class Pixels(nn.Module):
    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.mean, self.log_std = nn.Parameter(torch.zeros(shape)), nn.Parameter(torch.zeros(shape))


class PixelGaussian(Model):
    sampled, views = ("pixels",), ("mean", "grid")

    def __init__(self, spec, contrast: float = 1.0) -> None:
        super().__init__(spec)
        self.pixels, self.contrast = Pixels(spec.shape), contrast

    def sample(self, n, *, label=None, source=None, generator=None) -> Tensor:
        noise = torch.randn(n, *self.spec.shape, device=self.device, generator=generator)
        return (self.contrast * (self.pixels.mean + self.pixels.log_std.exp() * noise)).clamp(-1, 1)


class PixelNLL(Loss):
    family = PixelGaussian

    def phases(self, model: PixelGaussian) -> list[Phase]:
        return [Phase("fit", ("pixels",), (Term(self.nll),))]

    def nll(self, model: PixelGaussian, batch: Batch) -> dict[str, Tensor]:
        z = (batch.image - model.pixels.mean) / model.pixels.log_std.exp()
        return {"nll": (z.square() / 2 + model.pixels.log_std).mean()}


class Mean(View):
    needs = "independent pixels"

    def __init__(self, brightness: float = 0.0) -> None:
        self.brightness = brightness

    @classmethod
    def suits(cls, model: Model) -> bool:
        return isinstance(model, PixelGaussian)

    def draw(self, model, data, *, n, seed, batch_size) -> dict[str, Picture]:
        raw = quantise(model.pixels.mean[None] + self.brightness).cpu()
        return {"": Picture(make_grid(raw), raw)}


class ByMean(Drawn):
    def score(self, model, *, seed, held_out=None, halves=0):
        found = super().score(model, seed=seed, halves=halves)
        real = torch.from_numpy(self.scorer.reference.pixels.mean(0)).to(model.device) / 127.5 - 1
        return found._replace(values=found.values | {"mean_l1": float((model.pixels.mean - real).abs().mean())})


@scores(PixelGaussian)
class Moments(Samples):
    better = {"mean_l1": False}

    def prepared(self, model) -> list:
        return [ByMean(each.scorer, each.settings, each.name, each.facts) for each in super().prepared(model)]
'''
YAMLS = {
    "model/pixel_gaussian": "defaults: [_self_, override /loss@_global_.loss: pixel_nll]\n"
    "_target_: mypackage.gauss.PixelGaussian\ncontrast: 1.0\n",
    "loss/pixel_nll": "_target_: mypackage.gauss.PixelNLL\n",
    "view/mean": "# The mean picture.\n_target_: mypackage.gauss.Mean\nbrightness: 0.0\n",
}
TRUST = "trust=[mypackage]"
DATA = ["data=digits", "runtime=cpu", "batch_size=16", "features.epochs=1", "optimizer.lr=0.02"]
EVAL = ["eval.every=320", "eval.metrics=[fid]", "eval.best=mean_l1", "eval.n=32", "log.every=160"]
EVAL += ["ema.half_life=100", "samples.every=320", "samples.n=4"]


@pytest.fixture
def typed(cli, monkeypatch) -> Iterator:
    Path("mypackage").mkdir()
    Path("mypackage/__init__.py").touch()
    Path("mypackage/gauss.py").write_text(CODE)
    for name, text in YAMLS.items():
        file = Path("conf", f"{name}.yaml")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    for name in [name for name in sys.modules if name.startswith("mypackage")]:
        monkeypatch.delitem(sys.modules, name)

    def run(*words: str) -> str:
        answer = cli(*words)
        assert answer.code == 0, answer.err
        return answer.out

    run.refused = lambda *words: cli(*words).err
    return run


def test_a_family_of_another_package_is_trained_sampled_scored_reported_and_resumed(typed):
    train = ("train", "model=pixel_gaussian", *DATA, *EVAL, TRUST)
    typed(*train, "images=640", "hydra.run.dir=whole")
    rows = [json.loads(line) for line in Path("whole/metrics.jsonl").read_text().splitlines()]
    own = [row["eval/mean_l1"] for row in rows if "eval/mean_l1" in row]
    assert len(own) == 2 and own[1] < own[0] < 1 and "fit/nll" in rows[0]  # it learns, and its own value says so
    assert checkpoint.load("whole/checkpoints/best.pt").images == 640
    names = {file.name for file in Path("whole/samples").glob("*.png")}
    assert {"000000000640.png", "000000000640-grid.png"} <= names  # its view first, then the grid

    typed("train", *train[1:], "images=320", "hydra.run.dir=parts")
    typed("train", "resume=parts", "images=640", TRUST)
    whole, parts = (tensors(checkpoint.load(name).state) for name in ("whole", "parts"))
    assert whole.keys() == parts.keys() and all(torch.equal(whole[key], parts[key]) for key in whole)

    typed("sample", "ckpt=whole", TRUST, "out=mean", "brightness=0.5")  # its first view, with the view's own key
    typed("sample", "ckpt=whole", TRUST, "out=plain")
    bright, plain = (np.asarray(Image.open(Path(name, "000000.png"))).astype(int) for name in ("mean", "plain"))
    assert bright.mean() - plain.mean() == pytest.approx(0.5 * 127.5, abs=8)  # some pixels end at white
    typed("sample", "ckpt=whole", TRUST, "view=grid", "n=3", "out=three")
    assert len(list(Path("three").glob("0*.png"))) == 3

    for run in ("whole", "parts"):
        assert "mean_l1" in typed("eval", f"ckpt={run}", TRUST, "metrics=[fid]", "n=32", "floor=false")
    table = typed("report", "whole", "parts", "metrics=[mean_l1]", "out=paper")
    assert "mean l1" in table and "mean l1 ↓" in Path("paper/report.html").read_text()


def test_what_the_family_has_not_is_refused_in_one_line(typed):
    typed("train", "model=pixel_gaussian", *DATA, TRUST, "images=16", "hydra.run.dir=run")
    for words, says in (
        (("sample", "ckpt=run", TRUST, "temperature=0.5"), "temperature: no such key"),
        (("sample", "ckpt=run", TRUST, "view=interpolation"), "PixelGaussian is not; its views are: grid, mean"),
        (("eval", "ckpt=run", TRUST, "metrics=[nll]"), "nll needs a model with a likelihood"),
        (("train", "model=pixel_gaussian", "loss=hinge", TRUST, *DATA), "its losses are: pixel_nll"),
        (("sample", "ckpt=run"), "trust"),
    ):
        answer = typed.refused(*words)
        assert says in answer and len(answer.strip().splitlines()) == 1, answer
