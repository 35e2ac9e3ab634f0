"""gancli tune: what is said and refused, trials that small programs stand in for, and three that really train."""

import csv
import os
import shlex
import signal
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("optuna")
from optuna.pruners import ThresholdPruner

from gancli import folders
from gancli.cli import search
from gancli.cli.launcher import plugin, pool
from gancli.config.space import Choice, Number
from gancli.verbs.tune import figures, study
from gancli.verbs.tune.study import FILE, Settings, Study, load

# Trains in a moment: fid is 100 |log10(lr) + 3| + 10 / evaluation, and an lr above 0.05 diverges.
STAND_IN = """
import json, math, os, pickle, signal, sys, time
pickle.load(sys.stdin.buffer)
folder, words = pickle.load(sys.stdin.buffer)
os.chdir(folder)
given = dict(word.split("=", 1) for word in words)
lr = float(given["optimizer.lr"])
def write(state, metrics={}, error=None):
    facts = {"verb": "train", "overrides": words, "choices": {}, "job": 0, "swept": [], "version": "0"}
    facts |= {"state": state, "config": "", "metrics": metrics, "seconds": 0.0, "error": error}
    open("status.json", "w").write(json.dumps(facts))
def stop(*_):
    write("interrupted", error="saved"); os._exit(143)
signal.signal(signal.SIGTERM, stop); signal.signal(signal.SIGINT, stop)
write("running"); print("ready", flush=True)
if lr > 0.05:
    write("failed", error="TrainingDiverged: nan"); sys.exit()
for step in range(1, 5):
    fid = 100 * abs(math.log10(lr) + 3) + 10 / step
    with open("metrics.jsonl", "a") as file:
        print(json.dumps({"images": 25 * step, "eval/fid": fid}), file=file)
    time.sleep(0.05)
    if fid > 120 or os.path.exists("../patience"):  # it is stopped
        time.sleep(60)
write("done", {"eval/fid": fid})
"""
LINE = ("tune", "model=mlp_gan", "data=fake", "images=100", "evaluations=4", "seed=2")
LR = "optimizer.lr=interval(1e-5,1e-1)"  # of which seed 2 takes a good one, one that diverges, a bad and a good one


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every trial be a small program instead of a training, given up above a fid of 120, and draw no figures."""
    monkeypatch.setattr(study, "_pruner", lambda settings: ThresholdPruner(upper=120))
    monkeypatch.setattr(figures, "drawn", lambda *args: {})
    monkeypatch.setattr(pool, "PROGRAM", STAND_IN)
    monkeypatch.setattr(pool, "PAUSE", 0.005)
    place = lambda argv, job, config: (str(job.folder), argv[2:])  # noqa: E731
    monkeypatch.setattr(plugin, "Task", place)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_end_names_the_best_and_what_was_given_up_and_the_same_command_goes_on(cli, tmp_path, stand_in) -> None:
    answer = cli(*LINE, LR, "trials=4", "launcher.slots=2")
    (folder,) = tmp_path.glob("outputs/tune/lr-*")
    assert answer.code == 0, answer.err
    assert "less fid is better, on the validation split (data.validation=0.05) every 25 images" in answer.out
    assert "optimizer.lr  1e-05 to 0.1, logarithmic" in answer.out and "4 trials in" in answer.out
    found = rows(folder)
    assert [row["trial"] for row in found] == ["0", "1", "2", "3"] and len({row["lr"] for row in found}) == 4
    assert [row["state"] for row in found] == ["done", "failed", "pruned", "done"]
    assert found[1]["error"] == "TrainingDiverged: nan" and found[2]["error"].startswith("pruned: fid 1")
    assert "4 trials: 2 done; 1 pruned (trial-2); 1 failed (trial-1)" in answer.out
    best = min((row for row in found if row["state"] == "done"), key=lambda row: float(row["fid"]))
    lines = answer.out.splitlines()
    command = next(line for line in lines if line.startswith("gancli train "))
    assert f"optimizer.lr={float(best['lr']):.6g}" in command and "eval.split=validation" in command
    assert "interval" not in command and "trials" not in command and f"best: {best['run']}, fid " in answer.out
    assert f"gancli eval ckpt={folder / best['run']}" in lines
    again = cli(*LINE, LR, "trials=4", "launcher.slots=2")
    assert again.code == 0 and "going on with the sweep" in again.out and rows(folder) == found and not again.err
    assert cli(*LINE, LR, "trials=5").code == 0
    assert rows(folder)[:4] == found and rows(folder)[4]["state"] == "pruned"


def test_a_search_that_is_stopped_is_gone_on_with(cli, tmp_path, stand_in, monkeypatch) -> None:
    """Two trials are stopped while they train; the next command finishes them with the values that they had."""
    (tmp_path / "stopped").mkdir()
    (tmp_path / "stopped" / "patience").touch()
    words = [*LINE, "optimizer.lr=interval(5e-4,2e-3)", "trials=3", "launcher.slots=2", "hydra.sweep.dir=stopped"]
    looked = search.Search.report  # the end is told after a signal, too
    rests = pool.Pool._look

    def look(self) -> None:
        if len(list(tmp_path.glob("stopped/*/metrics.jsonl"))) == 2 and not self.signum:
            os.kill(os.getpid(), signal.SIGINT)
        rests(self)

    with monkeypatch.context() as patched:
        patched.setattr(pool.Pool, "_look", look)
        answer = cli(*words)
    assert answer.code == 130 and looked is search.Search.report
    assert "2 interrupted (trial-0, trial-1)" in answer.out and "best" not in answer.out
    assert answer.out.rstrip().splitlines()[-2:] == ["to go on with the search:", shlex.join(["gancli", *words])]
    (tmp_path / "stopped" / "patience").unlink()
    before = [row["lr"] for row in rows(tmp_path / "stopped")]
    answer = cli(*words)
    after = rows(tmp_path / "stopped")
    assert answer.code == 0 and [row["lr"] for row in after[:2]] == before
    assert [row["state"] for row in after] == ["done"] * 3 and "3 trials: 3 done" in answer.out


def test_where_every_trial_fails_it_ends(cli, stand_in) -> None:
    answer = cli(*LINE, "batch_size=choice(0,-1,-2,-3)", "trials=9")
    assert answer.code == 2 and answer.err.count("must be from 1 to") == 3
    assert "all of 3 trials failed; mend what they say, then begin with sweep=new" in answer.err


def test_figures_have_named_axes_and_the_best_trial() -> None:
    axes = {
        "optimizer.lr": Number(1e-5, 1e-1, log=True),
        "loss": Choice(("hinge", "lsgan")),
        "x": Number(1, 4, whole=True),
    }
    found = Study(axes, Settings("fid", False, 12))
    while (trial := found.ask()) is not None:
        params = found.frozen(trial.number).params
        found.done(trial.number, 1 + abs(np.log10(params["optimizer.lr"]) + 3) + 0.01 * params["x"])
    drawn = figures.drawn(found.study, "fid")
    assert set(drawn) == {"parallel", "importance", "contour"}
    importance, contour, parallel = (drawn[name].axes for name in ("importance", "contour", "parallel"))
    assert importance[0].get_xlabel() == "share of the variance of fid, PED-ANOVA"
    assert importance[0].get_yticklabels()[-1].get_text() == "optimizer.lr"  # on top
    assert "lr (logarithmic)" in (contour[0].get_xlabel(), contour[0].get_ylabel())
    assert contour[1].get_ylabel() == parallel[1].get_ylabel() == "fid on the validation split"
    assert [tick.get_text() for tick in parallel[0].get_xticklabels()] == ["lr (logarithmic)", "loss", "x"]
    best = next(line for line in parallel[0].lines if line.get_label().startswith("the best"))
    assert best.get_label() == f"the best: trial-{found.best().number}"
    assert {text.get_text() for text in parallel[0].texts} >= {"1e-05", "0.1", "hinge", "lsgan", "1", "4"}
    assert found.axes["loss"].words[round(best.get_ydata()[1])] == found.best().params["loss"]


@pytest.mark.parametrize("words, says", [
    ([], "nothing to search: add space=gan_lr, or values such as"),
    (["space=gan_lr", "-m"], "tune trains many times by itself; omit -m"),
    (["space=gan_lr", "hydra/launcher=joblib"], "trials run under gancli's own launcher"),
    (["space=gan_lr", "eval.split=test"], "trials are compared on the validation split alone; omit it"),
    (["space=gan_lr", "data.validation=0"], "set data.validation=0.05"),
    (["space=gan_lr", "objective=fidd"], "objective=fidd is not a single value"),
    (["space=gan_lr", "epochs=3"], "give images=... or eval.every=..."),
    (["space=gan_lr", "eval.every=5", "evaluations=5"], "omit one of them"),
    (["space=gan_lr", "resume=latest"], "the same command goes on with a search; omit it"),
    (["space=gan_lrs"], "did you mean 'gan_lr'"),
    (["images=1k,2k"], "images: trials that differ in it cannot be compared; give it one value"),
    (["data=mnist,digits"], "data: trials that differ in it cannot be compared"),
    (["eval.n=choice(10,20)"], "eval.n: trials that differ in it"),
    (["optimizer.lr=interval(1e-3)"], "cannot be parsed"),
    (["optimizer.lr=interval(2,1)"], "the interval is empty"),
    (["space=gan_lr", "trials=0"], "trials=0: must be 1 or more"),
])  # fmt: skip
def test_what_cannot_be_searched_is_said_in_a_line(cli, tmp_path, words: list[str], says: str) -> None:
    answer = cli("tune", "model=dcgan", *words)
    assert answer.code == 2 and says in answer.err and answer.err.count("\n") == 1
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("has, says", [(None, "which is not installed"), ("2.10.1", "which has 2.10.1 here")])
def test_without_optuna_the_extra_is_named(cli, monkeypatch, has: str | None, says: str) -> None:
    def version(name: str) -> str:
        if has is None:
            raise search.PackageNotFoundError
        return has

    monkeypatch.setattr(search, "version", version)
    answer = cli("tune", "space=gan_lr")
    assert (answer.code, answer.err) == (
        2,
        f"gancli: gancli tune needs Optuna 5, {says}; run:\npip install 'gancli[tune]'\n",
    )
    assert cli("tune", "--help").code == 0


@pytest.mark.parametrize("words, name, higher, metrics", [
    ([], "fid", False, "[fid,is]"),
    (["objective=kid"], "kid", False, "[fid,is,kid]"),
    (["objective=recall"], "recall", True, "[fid,is,precision_recall]"),
    (["eval.metrics=[fid]"], "fid", False, "[fid]"),
    (["model=pixelcnn", "data.binarise=fixed_seed"], "nll", False, "[nll]"),
])  # fmt: skip
def test_the_direction_is_that_of_the_metric(words, name: str, higher: bool, metrics: str) -> None:
    from helpers import compose

    from gancli.verbs.tune.objective import chosen

    found = chosen(compose("tune", ["images=1k", "evaluations=8", *words]), often=False)
    assert (found.settings.objective, found.settings.higher) == (name, higher)
    assert found.words == [
        f"eval.metrics={metrics}", f"eval.best={name}", "eval.every=125", "eval.split=validation"
    ]  # fmt: skip
    assert found.settings.evaluations == 8


def test_shipped_spaces_are_of_keys_that_a_gan_has(cli, tmp_path, stand_in) -> None:
    """A space of a file is replaced by what is typed."""
    words = ["images=100", "evaluations=1", "optimizer.lr=1e-3", "model.discriminator_norm=none"]
    answer = cli("tune", "model=dcgan", "data=fake", "space=[gan_lr,discriminator]", "trials=1", *words)
    assert answer.code == 0, answer.err
    (row,) = rows(next(tmp_path.glob("outputs/tune/*")))
    assert row["state"] == "done" and {"betas", "gamma", "repeat"} < {*row} and "optimizer.lr " not in answer.out
    assert sorted(folders.conf_dir().glob("space/*.yaml")) == [
        folders.conf_dir() / "space" / f"{name}.yaml" for name in ("discriminator", "gan_lr")
    ]


def test_three_trials_of_a_toy(cli, tmp_path) -> None:
    """Real ones: processes of their own, scores on the validation split, and a command that can be typed."""
    words = [
        "model=toy_gan",
        "data=ring8",
        "data.n=64",
        "data.n_test=64",
        "batch_size=32",
        "images=64",
        "model.width=8",
    ]
    words += ["samples.every=0", "doctor.every=0", "runtime=cpu", "objective=reverse_kl", "evaluations=2"]
    answer = cli("tune", *words, "trials=3", "optimizer.lr=interval(1e-4,1e-2)", "loss=choice(hinge,nonsaturating)")
    assert answer.code == 0, answer.err
    (folder,) = tmp_path.glob("outputs/tune/lr+loss-*")
    found = rows(folder)
    assert (
        len(found) == 3
        and {row["evaluations"] for row in found} == {"2"}
        and {row["state"] for row in found} == {"done"}
    )
    study = load(folder / FILE)
    assert study.direction.name == "MINIMIZE" and len(study.trials) == 3
    for trial in study.trials:
        run = folder / f"trial-{trial.number}"
        assert trial.value == trial.intermediate_values[2] and (run / "checkpoints" / "000000000064.pt").is_file()
        assert all("validation" in card.read_text() for card in (run / "eval").glob("*.json"))
    command = next(line for line in answer.out.splitlines() if line.startswith("gancli train "))
    assert "loss=" in command and "optimizer.lr=" in command and "trials" not in command
    assert cli("report", str(folder), "metrics=[reverse_kl]", "split=validation").code == 0
