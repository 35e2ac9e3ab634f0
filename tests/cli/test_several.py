"""A sweep that is real: its folders, its tables, and `gancli eval` and `gancli report` on all of its runs at once."""

import contextlib
import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from helpers import overrides
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams.backend_context import Context

from gancli.cli import status
from gancli.training import checkpoint

SETTINGS = [*overrides("dcgan")[1:], "model.width=4", "images=16", "doctor.every=0", "eval.every=0", "samples.every=16"]
QUICK = ["n=12", "metrics=[precision_recall]", "features=classifier", "features.epochs=1", "floor=false", "runtime=cpu"]


MODELS = ("dcgan", "wgan")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Train two models with two seeds each through the command line; return the sweep's folder and what was printed."""
    from gancli.cli import main

    folder, out = tmp_path_factory.mktemp("sweep"), io.StringIO()
    with contextlib.redirect_stdout(out):
        words = [*SETTINGS, "seed=0,1", f"model={','.join(MODELS)}", f"hydra.sweep.dir={folder}"]
        assert main(["train", "-m", *words]) == 0
    return folder, out.getvalue()


@pytest.fixture
def sweep(cli, trained) -> Path:
    """Return a copy of the sweep that a test may change, in the folder of the command line."""
    shutil.copytree(trained[0], "outputs/sweep/s")
    return Path("outputs/sweep/s")


def cards(sweep: Path) -> list[Path]:
    return sorted(sweep.glob("*/eval/*.json"))


def hparams(folder: Path) -> list:
    """Return the columns of TensorBoard's HPARAMS tab, in its order."""
    runs = EventMultiplexer().AddRunsFromDirectory(str(folder)).Reload()
    context = Context(TBContext(multiplexer=runs, data_provider=MultiplexerDataProvider(runs, str(folder))))
    tags = context.hparams_metadata(RequestContext(), "")
    return list(context.experiment_from_metadata(RequestContext(), "", False, tags, []).hparam_infos)


def test_what_is_swept_comes_first_in_folders_tables_and_hparams(trained, sweep: Path) -> None:
    lines = trained[1].splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("seed  model"))
    rows = [line.split()[:3] for line in lines[head + 1 : head + 5]]
    assert rows == [[seed, model, "done"] for seed in "01" for model in MODELS]
    folders = sorted(each.name for each in sweep.iterdir() if each.is_dir())
    assert folders == [f"seed-{seed}+model-{model}" for seed in "01" for model in MODELS]
    assert next(csv.reader((sweep / "results.csv").open()))[:3] == ["seed", "model", "state"]
    (run,) = sweep.glob("seed-1+model-wgan")
    assert status.read(run)["swept"] == ["seed", "model"]
    columns = hparams(sweep)
    (model,) = [each for each in columns if each.name == "model"]
    assert {each.string_value for each in model.domain_discrete.values} == {*MODELS}  # as chosen, not their classes
    differ = [each.differs for each in columns]
    assert differ == sorted(differ, reverse=True) and {"model", "seed"} <= {c.name for c in columns if c.differs}
    assert "accumulate" in {each.name for each in columns if not each.differs}


def test_eval_scores_a_sweep_skips_what_is_scored_and_goes_on_after_a_failure(cli, sweep: Path) -> None:
    broken = next(sweep.glob("seed-0+model-dcgan"))
    (weights,) = checkpoint.numbered(broken)
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-200])
    first = cli("eval", "outputs/sweep/s/*", *QUICK)
    assert first.code == 2 and len(cards(sweep)) == 3
    lines = first.out.splitlines()
    assert lines[-5].split() == ["model", "seed", "precision", "recall", "checkpoint"]
    assert [line.split()[:2] for line in lines[-4:]] == [[m, s] for s in "01" for m in MODELS]
    assert "failed: " in lines[-4] and "failed: " not in "".join(lines[-3:])
    weights.write_bytes(whole)
    before = {card: card.stat().st_mtime_ns for card in cards(sweep)}
    second = cli("eval", "outputs/sweep/s", "latest", *QUICK)  # the newest run is one of the sweep's
    assert second.code == 0 and len(cards(sweep)) == 4
    assert all(card.stat().st_mtime_ns == time for card, time in before.items())
    assert (second.out + second.err).count("scored already by the same protocol") == 3
    assert [line.split()[:2] for line in second.out.splitlines()[-4:]] == [[m, s] for s in "01" for m in MODELS]
    other = cli("eval", *map(str, sweep.iterdir()), *QUICK, "seed=3")  # includes results.csv and multirun.yaml
    assert other.code == 0 and len(cards(sweep)) == 8


def test_a_card_without_what_is_asked_for_is_not_enough(cli, sweep: Path) -> None:
    run = next(sweep.glob("seed-0+model-dcgan"))
    assert cli("eval", str(run), *QUICK).code == 0
    (card,) = (run / "eval").glob("*.json")
    assert not json.loads(card.read_text())["floor"]
    assert cli("eval", f"ckpt={run}", *QUICK, "floor=true").code == 0
    assert json.loads(card.read_text())["floor"]
    assert "scored already" in "".join(cli("eval", f"ckpt={run}", *QUICK)[1:])  # the floor is more than asked for
    card.write_text("{")
    assert "scored already" not in "".join(cli("eval", f"ckpt={run}", *QUICK)[1:])
    assert "scored already" not in "".join(cli("eval", f"ckpt={run}", *QUICK, "again=true")[1:])


@pytest.mark.parametrize("verb", ["report", "doctor", "eval", "sample", "resume"])
def test_job_folders_are_accepted_by_every_verb(cli, sweep: Path, verb: str) -> None:
    run = next(sweep.glob("seed-1+model-dcgan")).rename(sweep / "seed=1,model=dcgan")  # as releases up to 0.2 name them
    if verb == "report":
        assert cli("eval", *map(str, sweep.iterdir()), *QUICK).code == 0
    words = {
        "report": ["report", str(run), "outputs/sweep/s/seed=1,*"], "doctor": ["doctor", str(run), f"{run.resolve()}"],
        "eval": ["eval", f"ckpt={run}", *QUICK], "sample": ["sample", f"ckpt={run}", "n=1"],
        "resume": ["train", f"resume={run}", "images=32"],
    }[verb]  # fmt: skip
    assert cli(*words).code == 0
    if verb in ("report", "doctor"):
        assert cli(verb, f"runs={run}").code == 0 and cli(verb, "latest").code == 0


def test_names_that_hold_no_run(cli, sweep: Path) -> None:
    answer = cli("eval", "outputs/sweep/s/*.csv", *QUICK)
    assert answer.code == 2 and "ckpt=outputs/sweep/s/*.csv: no run there" in answer.err
    answer = cli("eval", "nowhere", *QUICK)
    assert answer.code == 2 and "no checkpoint or run folder at nowhere" in answer.err
    answer = cli("eval", "nowhere/*", *QUICK)
    assert answer.code == 2 and "nowhere/*: no run there" in answer.err
    answer = cli("complete", "ckpt=outputs/sweep/s", "n=1")
    assert answer.code == 2 and "holds 4 runs; name one of them, such as outputs/sweep/s/seed-0+mod" in answer.err
    answer = cli("eval", "-m", "outputs/sweep/s", "seed=0,1", *QUICK)
    assert answer.code == 2 and "4 checkpoints" in answer.err
    for file in sweep.glob("seed-0*/checkpoints/*.pt"):
        file.unlink()
    answer = cli("eval", "outputs/sweep/s", *QUICK)
    assert (
        answer.code == 0
        and "2 of the 4 runs of outputs/sweep/s have no checkpoint" in answer.out
        and len(cards(sweep)) == 2
    )
    assert all("outputs/sweep/s/seed-1" in line for line in answer.out.splitlines()[-2:])


def test_what_is_wrong_for_all_is_told_once_before_the_first(cli, sweep: Path) -> None:
    for verb, word, said in (("eval", "n=abc", "n: expected a number"), ("sample", "nn=3", "nn: no such key")):
        answer = cli(verb, "outputs/sweep/s", word)
        assert answer.code == 2 and answer.out == "" and answer.err.count(said) == 1
        assert len(answer.err.splitlines()) == 1
    answer = cli("eval", "outputs/sweep/s", "metrics=[fidd]", "runtime=cpu")  # known when torch has been imported
    assert answer.code == 2 and answer.err.count("no metric 'fidd'") == 1
    assert answer.out.count("failed: metrics: no metric 'fidd'") == 4


def test_what_is_wrong_for_one_does_not_stop_the_others(cli, sweep: Path) -> None:
    (next(sweep.glob("seed-0+model-dcgan")) / "config.yaml").write_text("model: 3\n")
    answer = cli("sample", *map(str, sorted(sweep.glob("seed-*"))), "n=1", "runtime=cpu")
    assert answer.code == 2 and answer.err.count("config.model: expected a mapping") == 1
    assert answer.out.count("failed: ") == 1 and len([*sweep.glob("*/samples/*-n1")]) == 3


def test_sample_draws_from_every_run_of_a_sweep_into_a_folder_of_its_own(cli, sweep: Path) -> None:
    found = cli("sample", "outputs/sweep/s", "n=2", "runtime=cpu", "out=pictures")
    assert found.code == 0 and found.out.splitlines()[-5].split() == ["model", "seed", "n", "checkpoint"]
    folders = sorted(each.name for each in Path("pictures").iterdir())
    assert folders == [f"seed-{seed}+model-{model}" for seed in "01" for model in MODELS]
    assert all(len([*folder.glob("*.png")]) == 3 for folder in Path("pictures").iterdir())  # a grid and two images
    checkpoints = [str(each) for each in sweep.glob("*/checkpoints/*.pt")]
    assert cli("sample", *checkpoints[:2], "n=2", "runtime=cpu").code == 0  # in samples/ of each run
    assert len([*sweep.glob("*/samples/*-n2*")]) == 2
    assert cli("sample", *checkpoints[:2], "n=2", "runtime=cpu", "out=files").code == 0
    assert {each.parent.stem for each in Path("files").rglob("*.png")} == {Path(checkpoints[0]).stem}
    assert not [*Path("files").rglob("*.pt")]  # folders that look like checkpoints
