"""gancli as a library: lazy, the same results as the commands, errors as exceptions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from helpers import overrides

import gancli
from gancli.errors import UsageError

SETTINGS = overrides("cgan", "images=16", "doctor.every=0", "samples.every=0")
QUICK = ["n=12", "metrics=[precision_recall]", "features=classifier", "features.epochs=1", "floor=false", "runtime=cpu"]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a run of each kind through the library, and return the folder of all."""
    folder = tmp_path_factory.mktemp("library")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANCLI_OUTPUTS", str(folder))
        cyclegan = overrides("cyclegan", "images=16", "doctor.every=0", "samples.every=0")
        assert gancli.train(cyclegan).folder.parent.name == "unpaired-cyclegan"
        run = gancli.train(SETTINGS)
    assert run.state == "done" and run.images == 16 and run.curve("loss/generator")
    return folder


@pytest.fixture(autouse=True)
def _there(outputs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GANCLI_OUTPUTS", str(outputs))
    monkeypatch.chdir(tmp_path)


def test_importing_it_imports_neither_torch_nor_hydra() -> None:
    code = """
import sys, gancli
gancli.__version__, dir(gancli)
assert not hasattr(gancli, "nothing")
import gancli.api
runs = gancli.runs()
assert "torch" not in sys.modules and len(runs) == 2
"""
    light = code.replace("runs = gancli.runs()", "assert 'hydra' not in sys.modules").replace(" and len(runs) == 2", "")
    for text in (light, code):
        subprocess.run([sys.executable, "-c", text], check=True, cwd=ROOT)
    assert set(gancli.__all__) == set(dir(gancli))


def test_samples_are_those_of_the_command(cli, outputs: Path) -> None:
    import numpy as np

    model = gancli.load("latest")
    images = model.sample(5, label=3, seed=1)
    assert images.shape == (5, *model.shape) and images.dtype == torch.uint8
    assert cli("sample", "ckpt=latest", "n=5", "label=3", "seed=1", "format=npz", "out=drawn").code == 0
    assert np.array_equal(np.load("drawn/images.npz")["images"], images.permute(0, 2, 3, 1).numpy())
    assert not torch.equal(images, model.sample(5, label=4, seed=1))
    assert torch.equal(gancli.load(model.path).sample(5, label="3", seed=1) if model.classes else images, images)
    with pytest.raises(UsageError, match="label=77"):
        model.sample(5, label=77)
    with pytest.raises(UsageError, match="n=0: must be 1 or more"):
        model.sample(0)
    with pytest.raises(UsageError, match="temperature"):
        model.sample(1, temperature=0.5)
    with pytest.raises(UsageError, match="does not translate"):
        model.translate(images)


def test_translations(outputs: Path) -> None:
    (run,) = gancli.runs(str(outputs / "unpaired-cyclegan"))
    model = gancli.load(run.folder)
    images = torch.randint(0, 256, (2, 1, 11, 9), dtype=torch.uint8)
    found = model.translate(images, "b2a")
    assert found.shape == images.shape and found.dtype == torch.uint8
    assert not torch.equal(found, model.translate(images))
    with pytest.raises(UsageError, match="direction=c"):
        model.translate(images, "c")
    with pytest.raises(UsageError, match=r"images must be \(N, 1, H, W\) torch.uint8"):
        model.translate(images.float())
    with pytest.raises(UsageError, match="call translate"):
        model.sample(2)


def test_evaluate_takes_one_run_and_several(outputs: Path, capsys) -> None:
    (run,) = gancli.runs("latest")
    values = gancli.evaluate([str(run.folder), *QUICK])
    assert set(values) == {"precision", "recall"} and values == gancli.evaluate(["ckpt=latest", *QUICK])
    assert [card.values for card in gancli.runs("latest")[0].cards] == [values]
    runs = sorted(str(each.folder) for each in gancli.runs(outputs))
    for several in ([str(outputs)], runs, [f"{outputs}/*/*"], [f"ckpt=[{','.join(runs)}]"]):
        found = gancli.evaluate([*several, *QUICK])
        assert sorted(found) == runs and found[str(run.folder)] == values and len(runs) == 2
    assert "gancli: " not in capsys.readouterr().err


def test_evaluate_goes_on_after_a_run_that_cannot_be_scored(outputs: Path, capsys) -> None:
    (run,) = gancli.runs("latest")
    found = gancli.evaluate([str(run.folder), "no/such", *QUICK])
    assert set(found) == {str(run.folder)}
    assert "no/such: no checkpoint or run folder at no/such" in capsys.readouterr().err
    with pytest.raises(UsageError, match="nor/this"):
        gancli.evaluate(["no/such", "nor/this", *QUICK])
    with pytest.raises(UsageError, match="2 checkpoints are named"):
        gancli.compose("eval", [str(outputs)])


def test_compose_writes_nothing(outputs: Path) -> None:
    before = set(outputs.rglob("*"))
    cfg = gancli.compose("train", ["model=dcgan", "data=fake", "images=2k"])
    assert cfg.images == 2000 and cfg.model._target_.endswith("DCGAN")
    assert gancli.compose("eval", ["latest"]).data._target_ == gancli.load().config.data._target_  # the run's own
    assert gancli.compose("sample", ["ckpt=latest", "label=3"]).view.label == 3
    assert set(outputs.rglob("*")) == before and not list(Path.cwd().iterdir())


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: gancli.train(["modle=dcgan"]), "modle"),
        (lambda: gancli.train(["model=dcgan", "data=fake", "batch_size=0"]), "batch_size=0: must be from 1 to"),
        (lambda: gancli.train(["model=nothing"]), "nothing"),
        (lambda: gancli.train(["-m", "seed=1,2"]), "only for the command line"),
        (lambda: gancli.train(["seed=1,2"]), "seed"),
        (lambda: gancli.compose("trian"), "did you mean 'train'"),
        (lambda: gancli.evaluate([]), "ckpt is missing"),
        (lambda: gancli.evaluate(["no/such"]), "no checkpoint or run folder at no/such"),
        (lambda: gancli.load("no/such"), "no checkpoint or run folder at no/such"),
        (lambda: gancli.runs("no/such/*"), "matches nothing"),
    ],
)
def test_errors_are_raised_in_one_line(call, said: str, outputs: Path, capsys) -> None:
    before = set(outputs.rglob("*"))
    with pytest.raises(UsageError, match=said) as error:
        call()
    assert "\n" not in str(error.value) and not any(capsys.readouterr())
    assert set(outputs.rglob("*")) == before


@pytest.mark.parametrize(
    "given, expected",
    [({}, "100000"), ({"GOMP_SPINCOUNT": "77"}, "77"), ({"OMP_WAIT_POLICY": "PASSIVE"}, "0")],
    ids=["default", "own count", "own policy"],
)
def test_threads_spin_for_a_limited_time_unless_the_user_says_otherwise(given, expected):
    """As libgomp itself tells it when torch loads it; another OpenMP tells nothing of this kind."""
    free = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    env = {**free, **given, "OMP_DISPLAY_ENV": "verbose"}
    code = "import gancli, sys; assert 'torch' not in sys.modules; import torch"
    told = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stderr
    if "GOMP_SPINCOUNT" not in told:
        pytest.skip("this torch has no libgomp")
    assert f"GOMP_SPINCOUNT = '{expected}'" in told
