"""What a model brings along: the kind of its likelihood, metrics and scorings of other packages."""

import json
import math
import sys
from pathlib import Path

import pytest
import torch
from helpers import compose, overrides, run

from gancli.config.legacy import renewed_protocol
from gancli.data.digits import Digits
from gancli.errors import UsageError
from gancli.metrics.features import Pixels
from gancli.metrics.registry import METRICS, choosing, metrics_named
from gancli.metrics.scorer import Scorer
from gancli.metrics.scoring.base import known_better, scoring_of, together
from gancli.metrics.scoring.evaluation import likelihood
from gancli.metrics.scoring.samples import Samples
from gancli.metrics.scoring.translations import Translations
from gancli.models.cyclegan import CycleGAN
from gancli.models.dcgan import DCGAN
from gancli.models.held_out import HeldOut
from gancli.models.kde import KDE
from gancli.training.loop import train
from gancli.verbs.evaluate.run import evaluate
from gancli.verbs.report.run import report

PACKAGE = '''
"""A metric, a family and its scoring, outside of gancli."""

import torch

from gancli.metrics.base import GENERATED, Metric
from gancli.metrics.kept import KeptPixels
from gancli.metrics.scoring.base import scores
from gancli.metrics.scoring.samples import Drawn, Samples
from gancli.models.held_out import HeldOut
from gancli.models.mlp_gan import MLPGAN


class Darkness(Metric):
    """Mean distance of the pixels to white."""

    name = "darkness"
    needs = {GENERATED: (KeptPixels,)}
    values = {"darkness": True}

    def __call__(self, sets):
        return {"darkness": 1 - sets[GENERATED][KeptPixels].images().double().mean().item() / 255}


class Namesake(Darkness):
    name = "fid"


class Bounded(MLPGAN):
    """A family that bounds its likelihood, as one that draws many samples of its posterior does."""

    def held_out(self):
        return HeldOut(lambda image, label: image.flatten(1).sum(1) * 0 + 64.0, "bound", 256, how="toy, k=3")


class Half(Drawn):
    """Images, and a value that no metric knows."""

    def score(self, model, *, seed, held_out=None, halves=0):
        found = super().score(model, seed=seed + (self.name == "odd"), held_out=held_out, halves=halves)
        return found._replace(values=found.values | {"parity": float(self.name == "odd")})


@scores(Bounded)
class Twice(Samples):
    better = {"parity": True}

    def prepared(self, model):
        (one,) = super().prepared(model)
        return [Half(one.scorer, self.settings, name, {"direction": name}) for name in ("even", "odd")]
'''


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("outside")
    (folder / "outsidescores.py").write_text(PACKAGE)
    sys.path.insert(0, str(folder))
    yield "outsidescores"
    sys.path.remove(str(folder))
    sys.modules.pop("outsidescores", None)


def nll(held_out: HeldOut) -> dict[str, float]:
    images = Digits().split("test")
    return (
        Scorer(["nll"], images, Pixels(), device=torch.device("cpu"), splits=Digits().split)
        .score(None, held_out)
        .values
    )


def test_the_names_of_a_likelihood_follow_from_its_kind() -> None:
    nats = lambda image, label: image.flatten(1).sum(1) * 0 + 64.0  # noqa: E731
    bits = 64 / 64 / math.log(2)
    for kind, spread, expected in (
        ("exact", 0, {"nll": 64.0, "bits_per_dim": bits}),
        ("density", 0, {"nll_density": 64.0}),
        ("density", 256, {"nll_density": 64.0, "bits_per_dim_bound": bits + 8}),
        ("bound", 0, {"nll_bound": 64.0, "bits_per_dim_bound": bits}),
        ("bound", 256, {"nll_bound": 64.0, "bits_per_dim_bound": bits + 8}),
    ):
        assert nll(HeldOut(nats, kind, 256, spread)) == pytest.approx(expected | {"nll_se": 0.0, "impossible": 0.0})
        assert set(expected) <= set(METRICS["nll"].values)
    assert likelihood(HeldOut(nats, "exact", 256)) == likelihood(None) == {}
    assert likelihood(HeldOut(nats, "bound", 256, how="toy")) == {"likelihood": {"kind": "bound", "how": "toy"}}


def test_models_say_what_their_likelihood_is() -> None:
    spec = Digits().split("test").spec
    assert DCGAN(spec, width=2).held_out() is None
    model = KDE(spec, bandwidth=0.1)
    assert model.held_out()[1:5] == ("density", 256, 0, "density of pixels in [0, 1]")
    binary = KDE(type(spec)(1, 8, 8, levels=2), kernel="aitchison_aitken", bandwidth=0.1)
    assert binary.held_out()[1:5] == ("exact", 2, 0, "")
    spread = KDE(type(spec)(1, 8, 8, levels=32, dequantised=True), bandwidth=0.1)
    assert spread.held_out()[1:5] == ("density", 32, 32, "uniform dequantisation, Theis et al. 2016")


def test_a_scoring_is_found_by_the_class_before_anything_is_built(package) -> None:
    import outsidescores

    assert scoring_of(DCGAN) is Samples and scoring_of(CycleGAN) is Translations
    assert scoring_of(outsidescores.Bounded) is outsidescores.Twice
    assert scoring_of(type("Child", (outsidescores.Bounded,), {})) is outsidescores.Twice
    assert {"parity": True, "cycle_l1": False}.items() <= known_better().items()
    assert together({"": {"fid": 1.0}}) == {"fid": 1.0}
    assert together({"a": {"x": 1.0, "y": 2.0}, "b": {"x": 3.0}}) == {"x": 2.0, "a/x": 1.0, "a/y": 2.0, "b/x": 3.0}


def test_metrics_of_other_packages_are_named_and_trusted(package) -> None:
    found = metrics_named(["fid", "outsidescores.Darkness", "fid"], ["outsidescores"])
    assert [metric.name for metric in found] == ["fid", "darkness"]
    assert choosing("darkness", found, {}) == {"darkness": True}
    for names, trust, said in (
        (["outsidescores.Darkness"], [], r"outsidescores.Darkness is refused.*'trust=\[outsidescores\]'"),
        (["outsidescores.Bounded"], ["outsidescores"], "not a Metric class"),
        (["outsidescores.Dark"], ["outsidescores"], "no class 'Dark'.*did you mean 'Darkness'"),
        (["outsidescores.Namesake"], ["outsidescores"], "the name of another metric, fid"),
        (["darkness"], ["outsidescores"], "no metric 'darkness'"),
        ([], [], "metrics is empty"),
    ):
        with pytest.raises(UsageError, match=said) as error:
            metrics_named(names, trust)
        assert "\n" not in str(error.value)


def test_a_metric_of_another_package_scores_and_chooses(package, tmp_path, capsys) -> None:
    mine = ["trust=[outsidescores]", "eval.metrics=[outsidescores.Darkness]", "eval.best=darkness", "eval.n=12"]
    run(tmp_path, "images=32", "eval.every=16", "eval.split=test", *mine)
    words = [f"ckpt='{tmp_path}'", "runtime=cpu", "n=12"]
    with pytest.raises(UsageError, match="metrics: .*trust="):
        evaluate(compose("eval", [*words, "metrics=[outsidescores.Darkness]"]))
    values = evaluate(compose("eval", [*words, "metrics=[outsidescores.Darkness]", "trust=[outsidescores]"]))
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert values == {"darkness": [row["eval/darkness"] for row in rows if "eval/darkness" in row][-1]}
    (card,) = [json.loads(file.read_text()) for file in (tmp_path / "eval").glob("*32-pixels.json")]
    assert card["better"] == {"darkness": True} and card["protocol"]["metrics"] == ["darkness"]
    report(compose("report", [f"runs='{tmp_path}'"]))  # which imports no package of others
    assert "darkness ↑" in capsys.readouterr().out


def test_a_family_of_another_package_brings_its_scoring(package, tmp_path) -> None:
    words = overrides("mlp_gan", "images=32", "eval.every=16")
    cfg = compose("train", [*words, "eval.metrics=[nll,precision_recall]", "eval.best=parity", "eval.n=12",
                            "eval.split=test", "features=classifier", "features.epochs=1",
                            "trust=[outsidescores]"])  # fmt: skip
    cfg.model._target_ = "outsidescores.Bounded"
    train(cfg, tmp_path)
    values = evaluate(compose("eval", [f"ckpt='{tmp_path}'", "runtime=cpu", "n=12",
                                       "metrics=[nll,precision_recall]",
                                       "which=best", "trust=[outsidescores]", "floor=false"]))  # fmt: skip
    assert values["parity"] == 0.5 and values["odd/parity"] == 1 and values["even/nll_bound"] == 64
    assert values["even/bits_per_dim_bound"] == pytest.approx(1 / math.log(2))
    cards = {file.name: json.loads(file.read_text()) for file in Path(tmp_path / "eval").glob("*.json")}
    assert {"000000000016-even-classifier.json", "000000000032-odd-classifier.json"} <= set(cards)
    card = cards["000000000032-odd-classifier.json"]
    assert card["protocol"]["likelihood"] == {"kind": "bound", "how": "toy, k=3"}
    assert card["better"]["parity"] is True and card["better"]["nll_bound"] is False
    report(compose("report", [f"runs='{tmp_path}'", "best=parity"]))


def test_protocols_of_earlier_cards_are_read_with_the_keys_of_today() -> None:
    assert renewed_protocol({"way": "a2b", "seed": 0}) == {"direction": "a2b", "seed": 0}
    today = {"direction": "a2b", "seed": 0}
    assert renewed_protocol(today) == today
    alone = {"metrics": ["nll"], "images_generated": None, "batch_size": 64}
    assert renewed_protocol(alone) == alone | {"batch_size": None} == renewed_protocol(alone | {"batch_size": None})
    for other in ({"images_generated": 12}, {"metrics": ["fid"]}, {"likelihood": {"kind": "bound", "how": "k=3"}}):
        assert renewed_protocol(alone | other) == alone | other


def test_a_likelihood_has_one_card_whatever_the_batches(tmp_path) -> None:
    """Training scores in batches of 8, gancli eval in batches of 64: the sum over images is the same."""
    run(tmp_path, "images=16", "eval.every=8", "checkpoint.every=8", "eval.split=test", model="pixelcnn")
    cards = tmp_path / "eval"
    trained = {file.name: json.loads(file.read_text()) for file in cards.glob("*.json")}
    assert list(map(len, (trained, set(trained) & {"000000000008-pixels.json", "000000000016-pixels.json"}))) == [2, 2]
    words = [f"ckpt='{tmp_path}'", "runtime=cpu", "which=all", "metrics=[nll]"]
    evaluate(compose("eval", words))
    scored = {file.name: json.loads(file.read_text()) for file in cards.glob("*.json")}
    assert scored.keys() == trained.keys()
    for name, card in scored.items():
        assert card["values"] == pytest.approx(trained[name]["values"], rel=1e-6)
        assert card["protocol"]["batch_size"] is None and card["protocol"]["checkpoint_sha256"]
        assert card["protocol"] | {"checkpoint_sha256": None} == trained[name]["protocol"]
    before = {file: file.stat().st_mtime_ns for file in cards.glob("*.json")}
    evaluate(compose("eval", [*words, "batch_size=3"]))
    assert {file: file.stat().st_mtime_ns for file in cards.glob("*.json")} == before, "scored already"
    evaluate(compose("eval", [*words, "split=train"]))
    assert len(list(cards.glob("*.json"))) == 4
