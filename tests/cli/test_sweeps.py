"""Sweeps: jobs that fail, are done, are stopped or half done, and the same command again; most verbs are stand-ins."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from conftest import ROOT
from helpers import overrides
from histories import told
from stand_ins import replace_verbs

from gancli.errors import Interrupted
from gancli.files import TEMPORARY
from gancli.training import checkpoint

# Sweeps


def test_a_sweep_goes_on_past_a_failed_job_and_runs_only_that_again(cli, monkeypatch, tmp_path: Path) -> None:
    broken = {2}
    called: list[int] = []

    def call(name: str, cfg: Any, folder: Path) -> dict[str, float]:
        called.append(cfg.seed)
        if cfg.seed in broken:
            raise RuntimeError("boom")
        return {"eval/fid": 10.0 * cfg.seed}

    replace_verbs(monkeypatch, call)
    line = ("train", "seed=1,2,3", "-m", "hydra.sweep.dir=s1", "optimizer.lr=1e-3")
    answer = cli(*line)
    assert answer.code == 1 and called == [1, 2, 3]
    table = answer.out.splitlines()
    header = next(i for i, text in enumerate(table) if text.startswith("seed  state"))
    assert table[header].split() == ["seed", "state", "seconds", "eval/fid", "error", "run"]  # lr does not vary
    assert [text.split()[1] for text in table[header + 1 : header + 4]] == ["done", "failed", "done"]
    rows = (tmp_path / "s1" / "results.csv").read_text().splitlines()
    assert len(rows) == 4 and "RuntimeError: boom" in rows[2]
    assert sorted(p.name for p in (tmp_path / "s1").iterdir() if p.is_dir()) == ["seed-1", "seed-2", "seed-3"]
    broken.clear()
    answer = cli(*line)
    assert answer.code == 0 and called == [1, 2, 3, 2]
    assert answer.out.count("is already done") == 2


def test_a_done_job_runs_again_when_its_config_changed(cli, verb, monkeypatch) -> None:
    assert cli("train", "-m", "seed=1", "hydra.sweep.dir=s", "hydra.sweep.subdir=x").code == 0
    assert cli("train", "-m", "seed=2", "hydra.sweep.dir=s", "hydra.sweep.subdir=x").code == 0
    assert [cfg.seed for _, cfg, _ in verb] == [1, 2]


def test_a_job_with_wrong_settings_is_a_failed_job(cli, verb) -> None:
    answer = cli("train", "-m", "batch_size=0,64")
    assert answer.code == 1
    assert "batch_size=0: must be from 1 to" in answer.err
    assert [cfg.batch_size for _, cfg, _ in verb] == [64]


def test_a_signal_ends_the_sweep(cli, monkeypatch) -> None:
    called = []

    def call(name: str, cfg: Any, folder: Path) -> dict[str, float]:
        called.append(cfg.seed)
        raise Interrupted(signal.SIGINT, "saved")

    replace_verbs(monkeypatch, call)
    answer = cli("train", "-m", "seed=1,2")
    assert answer.code == 130 and called == [1]
    assert "interrupted" in answer.out


def test_each_model_of_a_sweep_has_its_own_partners(cli, verb) -> None:
    assert cli("train", "-m", "model=dcgan,mlp_gan").code == 0
    found = {cfg.model._target_.rpartition(".")[2]: cfg.optimizer._target_ for _, cfg, _ in verb}
    assert found == {"DCGAN": "torch.optim.Adam", "MLPGAN": "torch.optim.SGD"}


# Their configs


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_configs_of_all_jobs_are_shown_and_nothing_is_run_or_written(cli, verb, tmp_path) -> None:
    line = ("train", "-m", "model=dcgan,mlp_gan", "seed=1,2", "data=digits")
    answer = cli(*line, "--cfg", "job")
    assert (answer.code, answer.err, verb) == (0, "", []) and files(tmp_path) == {}
    jobs = re.split(r"^# job \d: (.*)\n", answer.out, flags=re.M)
    choices = [f"model={model} seed={seed} data=digits" for model in ("dcgan", "mlp_gan") for seed in (1, 2)]
    assert jobs[::2][0] == "" and jobs[1::2] == choices
    for choice, text in zip(choices, jobs[2::2]):
        assert text == cli("train", *choice.split(), "--cfg", "job").out
    node = cli(*line, "epochs=3", "--cfg", "job", "-p", "ema", "--resolve").out
    assert node == "".join(
        f"# job {i}: {choice} epochs=3\n" + cli("train", *choice.split(), "--cfg", "job", "-p", "ema", "--resolve").out
        for i, choice in enumerate(choices)
    )


def test_a_job_whose_config_is_shown_is_checked_as_one_that_is_run(cli, verb, tmp_path) -> None:
    for wrong, says in (
        ("model.width=8,-3", "model.width=-3: must be 1 or more"),
        ("batch_size=64,0", "batch_size=0: must be from 1 to"),
        ("seed=1,2 epochs=3 images=5", "images"),
        ("seed=range(0)", "the sweep has no jobs"),
        ("model.widht=1,2", "did you mean 'width'"),
    ):
        answer = cli("train", "-m", *wrong.split(), "--cfg", "job", "-p", "seed")
        assert answer.code == 2 and says in answer.err and "Traceback" not in answer.err, wrong
        assert answer.out.count("\n0\n") == (wrong[-2:] in ("-3", ",0"))  # the other job is shown
    assert verb == [] and files(tmp_path) == {}


def test_a_sweep_that_is_there_is_not_touched_when_its_configs_are_shown(cli, verb, tmp_path) -> None:
    line = ("train", "-m", "seed=1,2", "hydra.sweep.dir=s", "hydra/launcher=basic")
    assert cli(*line).code == 0
    before = files(tmp_path)
    answer = cli(*line, "batch_size=3", "--cfg", "job")
    assert answer.code == 0 and answer.out.count("batch_size: 3\n") >= 2 and len(verb) == 2
    assert files(tmp_path) == before and "job 0 is already done" in cli(*line).out


# The same command again


def interrupted(folder: Path) -> None:
    """Make a job look as if its process had been killed after its first checkpoint."""
    file = folder / "status.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"state": "running", "metrics": {}}))
    for path in checkpoint.numbered(folder)[1:]:
        path.unlink()


def test_a_half_done_job_goes_on_from_its_checkpoint_and_ends_as_if_it_had_not_been_killed(cli, tmp_path) -> None:
    settings = ["images=64", "log.every=16", "checkpoint.every=16", "samples.every=0", "eval.every=0", "doctor.every=0"]
    line = ("train", "-m", "seed=1,2", *overrides("mlp_gan", *settings))
    assert cli(*line).code == 0
    done, half = sorted(tmp_path.glob("outputs/sweep/*/seed-*"))
    before, untouched = told(half), files(done)
    interrupted(half)
    again = cli(*line)
    assert again.code == 0 and "job 0 is already done" in again.out and "job 1 goes on: seed=2" in again.out
    assert f"going on with the sweep in {half.parent}" in again.out and files(done) == untouched
    assert told(half) == before and "resumed from" in (half / "log.txt").read_text()
    facts = json.loads((half / "status.json").read_text())
    assert facts["overrides"][0] == "seed=2" and (facts["job"], facts["swept"]) == (1, ["seed"])
    assert "already done" in cli(*line).out.splitlines()[2]  # a job that went on is done, too
    assert len(list(tmp_path.glob("outputs/sweep/*"))) == 1


def test_a_job_killed_before_its_first_checkpoint_begins_anew_with_one_series_of_events(cli, tmp_path) -> None:
    line = ("train", "-m", "seed=1", *overrides("mlp_gan", "images=32", "log.every=16", "eval.every=0"))
    assert cli(*line).code == 0
    (job,) = (path.parent for path in tmp_path.glob("outputs/sweep/*/*/status.json"))
    before = told(job)
    interrupted(job)
    for path in checkpoint.numbered(job):
        path.unlink()
    (job / f".08eaa66f0b008e49{TEMPORARY}").touch()  # it was just writing
    again = cli(*line)
    assert again.code == 0 and "goes on" not in again.out.partition("job 0")[2] and told(job) == before


def test_the_same_command_finds_its_sweep_until_a_new_one_is_asked_for(cli, verb, tmp_path) -> None:
    line = ("train", "-m", "seed=1,2", "optimizer.lr=1e-3")
    assert cli(*line).code == 0 and len(verb) == 2
    assert cli("train", "optimizer.lr=1e-3", "-m", "seed=1,2").out.count("is already done") == 2
    assert cli(*line, "sweep=new").code == 0 and len(verb) == 4
    assert cli(*line).out.count("is already done") == 2 and len(verb) == 4
    assert cli("train", "-m", "seed=1,2", "optimizer.lr=1e-4").code == 0 and len(verb) == 6
    names = sorted(path.name for path in tmp_path.glob("outputs/sweep/*"))
    assert len(names) == 3 and sum(name.endswith("-2") for name in names) == 1
    assert all(name.startswith("seed-") for name in names)


def test_two_commands_do_not_write_into_one_sweep(cli, verb, tmp_path) -> None:
    line = ("train", "-m", "seed=1,2")
    assert cli(*line).code == 0
    (folder,) = tmp_path.glob("outputs/sweep/*")
    program = "import sys; from pathlib import Path; from gancli.training.guard import locked\n"
    program += "with locked(Path(sys.argv[1])): print(flush=True), sys.stdin.read()"
    command = [sys.executable, "-c", program, str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    assert other.stdout.readline()
    before = files(folder)
    answer = cli(*line)
    assert answer.code == 2 and f"process {other.pid} on" in answer.err and "is writing into" in answer.err
    assert files(folder) == before
    other.communicate()
    assert cli(*line).code == 0


def test_one_bad_value_among_six_is_one_named_failure(cli, verb) -> None:
    answer = cli("train", "-m", "batch_size=1,2,0,4,5,6")
    assert answer.code == 1 and len(verb) == 5 and "6 jobs; 1 failed" in answer.out
    (bad,) = [line for line in answer.out.splitlines() if line.startswith("0  ")]
    assert bad.split()[1] == "failed" and "batch_size=0: must be" in bad and bad.endswith("batch_size-0")


def test_a_run_that_is_resumed_by_hand_keeps_what_was_typed(cli, tmp_path) -> None:
    short = ["samples.every=0", "eval.every=0", "doctor.every=0"]
    assert cli("train", *overrides("mlp_gan", "images=16", *short), "seed=3", "hydra.run.dir=a=b").code == 0
    assert cli("train", "resume=a=b", "images=32").code == 0
    facts = json.loads((tmp_path / "a=b" / "status.json").read_text())
    assert "seed=3" in facts["overrides"] and "images=32" in facts["overrides"]
    assert not [word for word in facts["overrides"] if word.startswith("resume") or word == "images=16"]
