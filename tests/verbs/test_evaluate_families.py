"""Every metric of every family of models, of the last, the best and all checkpoints, and of pictures of others."""

import csv
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from helpers import SMALL, compose, overrides, run

from gancli.errors import UsageError
from gancli.metrics.fid_infinity import FIDInfinity
from gancli.metrics.registry import METRICS
from gancli.metrics.scoring import evaluation
from gancli.training import checkpoint
from gancli.training.loop import train
from gancli.verbs.evaluate.run import evaluate
from gancli.views import figures

LABELLED = ["features=classifier", "features.epochs=1"]
N_TEST = ["data.n_test=24"]  # of the real images
SIDES = [f"data.{side}.n_test=24" for side in "ab"]
# Family -> its model, and what its runs are given besides helpers.overrides().
FAMILIES = {
    "adversarial": ("dcgan", [*N_TEST, *LABELLED]),
    "conditional": ("cgan", [*N_TEST, *LABELLED]),
    "points": ("toy_gan", ["model.width=8", "data=grid25", "batch_size=16", "runtime=cpu", "features=modes"]),
    "autoregressive": ("pixelcnn", [*N_TEST, "data.validation=12", *LABELLED]),
    "density": ("kde", [*N_TEST, *LABELLED]),
    "style": ("stylegan2", [*N_TEST, *LABELLED]),
    "latent": ("vae", [*N_TEST, "data.validation=12", *LABELLED]),
    "cyclic": ("cyclegan", [*SIDES, *LABELLED]),
    "paired": ("pix2pix", [*SIDES, *LABELLED]),
    "domains": ("stargan", ["data.num_classes=2", "data.n_test=60", *LABELLED]),
}
EXPLICIT = {"autoregressive": "nll", "density": "nll_density", "latent": "nll_bound"}  # and what their nll is called
OF_CODES = ("perplexity", "code_nats")
OF_LATENTS = ("elbo", "iwae", "active_units", "psnr", "rfid", "rsharpness")
CLASSES = "needs the class of each image"
# (family, metric) -> what gancli says to it; every other pair is scored.
REFUSED = {
    **{(family, "nll"): "needs a model with a likelihood" for family in FAMILIES if family not in EXPLICIT},
    **{
        (family, metric): "needs a latent-variable model, such as model=vae"
        for family in FAMILIES
        if family != "latent"
        for metric in OF_LATENTS
    },
    **{
        (family, name): "needs a model with maps of codes, such as model=vqvae"
        for family in FAMILIES
        for name in OF_CODES
    },
    **{(family, "modes"): "modes" for family in FAMILIES if family != "points"},
    **{(family, "fid_per_class"): CLASSES for family in ("adversarial", "style", *EXPLICIT)},
    **{(family, "path_length"): "needs a style-based model" for family in FAMILIES if family != "style"},
    ("points", "fid_per_class"): "fid_per_class",
    ("points", "parzen"): "parzen needs 8-bit pixels",
    ("points", "classes"): "classes",
    ("points", "sharpness"): "sharpness needs images",
    ("points", "rsharpness"): "rsharpness needs images",
}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lay no figure out, which takes ten times as long as the scores, and let FID-infinity take few images."""
    monkeypatch.setattr(FIDInfinity, "least", 12)
    monkeypatch.setattr(figures, "save", lambda figure, path: path.touch())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory):
    """Return a function that trains a family's run when it is first asked for: two checkpoints and the best one."""
    made: dict[str, Path] = {}

    def of(family: str) -> Path:
        if family not in made:
            made[family] = tmp_path_factory.mktemp(family)
            model, words = FAMILIES[family]
            metric = "nll" if family in EXPLICIT else "precision_recall"
            best = EXPLICIT.get(family, "recall")
            settings = ["images=32", "checkpoint.every=16", "samples.every=0", "doctor.every=0", "eval.every=16",
                        f"eval.metrics=[{metric}]", f"eval.best={best}", "eval.n=12", "eval.split=test"]  # fmt: skip
            own = [f"model={model}"] if family == "points" else overrides(model)
            train(compose("train", [*own, *words, *settings]), made[family])
        return made[family]

    return of


def score(*words: str) -> dict[str, float]:
    return evaluate(compose("eval", ["runtime=cpu", *words]))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_metric_of_every_family(family, metric, runs, quick) -> None:
    folder = runs(family)
    words = [f"ckpt='{folder}'", f"metrics=[{metric}]", "n=20", "floor=false", "seed=7", "which=all"]
    if (family, metric) in REFUSED:
        with pytest.raises(UsageError, match=re.escape(REFUSED[family, metric])):
            score(*words)
        return
    before = set((folder / "eval").iterdir())
    values = score(*words)
    assert {key.rpartition("/")[2] for key in values} & set(METRICS[metric].values)
    assert not any(map(math.isnan, values.values()))
    new = sorted(set((folder / "eval").iterdir()) - before)
    subjects = {key.partition("/")[0] for key in values if "/" in key} or {""}
    curves = [file for file in new if file.suffix == ".csv"]
    assert len(curves) == len(subjects) == sum(file.suffix == ".png" for file in new)
    seen = [int(path.stem) for path in checkpoint.numbered(folder)]
    for file in curves:
        assert [int(row["images"]) for row in csv.DictReader(file.open())] == seen
    cards = [json.loads(file.read_text()) for file in new if file.suffix == ".json"]
    assert sorted(card["images_seen"] for card in cards) == sorted(seen * len(subjects))
    assert all(card["protocol"]["metrics"] == [metric] for card in cards)
    assert {card["protocol"].get("direction", "") for card in cards} == subjects
    with pytest.MonkeyPatch.context() as patch:  # and what is scored is not scored again
        patch.setattr(evaluation, "evaluate", lambda *args, **kwargs: pytest.fail("scored again"))
        assert score(*words[:-1], "which=last") == values


@pytest.mark.parametrize("family", FAMILIES)
def test_all_metrics_of_a_family_at_once(family, runs, quick) -> None:
    """Of all checkpoints the values of the last one are returned; the best one has values of the same names."""
    folder = runs(family)
    metrics = ",".join(name for name in METRICS if (family, name) not in REFUSED)
    words = [f"metrics=[{metrics}]", "n=20", "floor=false"]
    found = {which: score(f"ckpt='{folder}'", f"which={which}", *words) for which in ("last", "best", "all")}
    assert found["last"] == found["all"] and found["best"].keys() == found["last"].keys()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "evaluate", lambda *args, **kwargs: pytest.fail("scored again"))
        assert all(score(f"ckpt='{folder}'", f"which={which}", *words) == found[which] for which in found)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("what", ["pictures", "points"])
def test_every_metric_of_what_someone_else_made(what, metric, tmp_path, monkeypatch, quick) -> None:
    monkeypatch.setenv("GANCLI_OUTPUTS", str(tmp_path / "outputs"))
    if what == "points":
        np.savez(tmp_path / "given.npz", points=np.random.RandomState(0).randn(40, 2).astype(np.float32))
        of_models = ("nll", "path_length", *OF_CODES, *OF_LATENTS)
        data, refused = (
            ["data=grid25", "features=modes"],
            ("fid_per_class", "parzen", "classes", "sharpness", *of_models),
        )
    else:
        images = np.random.RandomState(0).randint(0, 255, (40, 8, 8, 1), np.uint8)
        np.savez(tmp_path / "given.npz", images=images, labels=np.arange(40) % 10)
        of_models = ("nll", "path_length", *OF_CODES, *OF_LATENTS)
        data, refused = [*SMALL[:3], "data.n=60", "data.n_test=40", *LABELLED], ("modes", *of_models)
    words = [f"images={tmp_path / 'given.npz'}", f"metrics=[{metric}]", "bootstrap=4", *data]
    if metric in refused:
        with pytest.raises(UsageError, match=metric):
            score(*words)
        return
    values = score(*words)
    (file,) = (tmp_path / "outputs" / "images" / "given").iterdir()
    card = json.loads(file.read_text())
    assert card["values"] == values and set(values) & set(METRICS[metric].values)
    assert card["protocol"]["images_generated"] == 40 and "seed" not in card["protocol"]
    assert set(card["spread"]) <= set(values)


def test_the_best_checkpoint_is_the_one_that_training_kept(runs, tmp_path) -> None:
    folder = runs("adversarial")
    best = checkpoint.load(folder / "checkpoints" / "best.pt")
    words = ["metrics=[precision_recall]", "n=12", "floor=false", "batch_size=8"]
    values = score(f"ckpt='{folder}'", "which=best", *words)
    assert values["recall"] == pytest.approx(best.state["metrics"]["best"])
    assert values == score(f"ckpt='{folder / 'checkpoints' / 'best.pt'}'", *words)
    run(tmp_path / "none", "images=16")
    with pytest.raises(UsageError, match="has no best.pt; training keeps one with eval.every="):
        score(f"ckpt='{tmp_path / 'none'}'", "which=best", "metrics=[precision_recall]")
    lone = tmp_path / "model.pt"
    lone.write_bytes(checkpoint.find(tmp_path / "none").read_bytes())
    for which in ("best", "all"):
        with pytest.raises(UsageError, match=f"which={which}: .*model.pt is not in a run folder"):
            score(f"ckpt='{lone}'", f"which={which}", "metrics=[precision_recall]")


def test_reference_statistics_are_of_one_set_of_real_images(runs, tmp_path) -> None:
    words = [f"ckpt='{runs('cyclic')}'", "metrics=[fid]", "n=20"]
    with pytest.raises(UsageError, match="the CycleGAN of .* is scored on several"):
        score(*words, f"save_reference={tmp_path / 'real.npz'}")
    assert not (tmp_path / "real.npz").exists()
    one = [f"ckpt='{runs('paired')}'", "metrics=[fid]", "n=20", "floor=false"]
    direct = score(*one, f"save_reference={tmp_path / 'real.npz'}")
    assert score(*one, f"reference={tmp_path / 'real.npz'}")["a2b/fid"] == pytest.approx(direct["a2b/fid"], abs=1e-6)


@pytest.mark.parametrize(
    ("family", "metric", "said"),
    [("autoregressive", "nll", "24 images of fake test, 2 levels"), ("paired", "fid", "a2b: 20 images against fake")],
)
def test_a_curve_says_what_was_measured(family, metric, said, runs, monkeypatch) -> None:
    texts: list[str] = []
    kept = figures.source
    monkeypatch.setattr(figures, "source", lambda figure, text: (texts.append(text), kept(figure, text)))
    before = set((runs(family) / "eval").glob("*.png"))
    score(f"ckpt='{runs(family)}'", f"metrics=[{metric}]", "n=20", "seed=8", "which=all")
    (new,) = set((runs(family) / "eval").glob("*.png")) - before
    assert new.stat().st_size > 10_000 and texts[0].startswith(said)
