"""gancli train -m in processes of their own: real jobs, which wrong settings keep from starting, and what is shown."""

import json
from pathlib import Path

import pytest
from helpers import overrides
from histories import differences, told
from rich.console import Console

from gancli.cli.launcher import board, plugin, slots
from gancli.cli.launcher.pool import Child
from gancli.cli.launcher.slots import Slots

TINY = overrides("mlp_gan", "images=48", "log.every=24", "samples.every=0", "eval.every=0", "doctor.every=0")


def test_a_job_of_a_sweep_is_the_same_job_alone_and_a_wrong_one_is_a_named_failure(cli, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    words = [word for word in TINY if not word.startswith("batch_size")]
    words += ["runtime.precision=fp32", "runtime.channels_last=false"]  # of the job as of this process, see conftest.py
    answer = cli("train", "-m", *words, "batch_size=8,0", "launcher.slots=2")
    assert answer.code == 1 and "batch_size=0: must be from 1 to" in answer.err
    assert "2 jobs; 1 failed" in answer.out and "2 jobs in outputs/sweep/batch_size-" in answer.out
    assert "batch_size-8: 48/48 images" in answer.err and "batch_size-8: done (1 of 1 done)" in answer.err
    (job,) = tmp_path.glob("outputs/sweep/*/batch_size-8")
    assert cli("train", *words, "batch_size=8", "runtime.threads=1", "hydra.run.dir=alone").code == 0
    one, other = told(job), told(tmp_path / "alone")
    assert one["files"].pop(one["files"].index("output.txt")) and differences(one, other) == []
    machines = [json.loads((folder / "machine.json").read_text()) for folder in (job, tmp_path / "alone")]
    assert machines[0] == machines[1] and machines[0][0]["threads"] == 1
    again = cli("train", "-m", *words, "batch_size=8,0", "launcher.slots=2")
    assert again.code == 1 and "job 0 is already done" in again.out and "48/48" not in again.err


@pytest.mark.parametrize("words, says", [
    (["launcher.slots=0"], "launcher.slots=0: must be auto, or 1 or more"),
    (["launcher.slot=2"], "did you mean 'slots'"),
    (["sweep=old"], "only sweep=new is known"),
])  # fmt: skip
def test_what_is_wrong_with_the_launcher_is_said_in_a_line(cli, verb, tmp_path, words, says) -> None:
    answer = cli("train", "-m", "seed=1,2", *words)
    assert answer.code == 2 and says in answer.err and answer.err.count("\n") == 1
    assert verb == [] and not (tmp_path / "outputs").exists()
    alone = cli("train", *words)
    assert alone.code == 2 and "only a sweep takes this; add -m" in alone.err


@pytest.mark.parametrize("cores, typed, own", [
    (1, [], False), (4, [], True), (4, ["hydra/launcher=basic"], False), (1, ["hydra/launcher=gancli"], True),
])  # fmt: skip
def test_training_takes_it_where_there_is_more_than_one_slot_and_nothing_else_is_chosen(
    cli, verb, monkeypatch, cores, typed, own
) -> None:
    monkeypatch.setattr(slots, "cores", lambda: cores)
    launched = []
    monkeypatch.setattr(slots, "memory_gib", lambda: 1000)

    def launch(self, job_overrides, initial_job_idx):
        launched.append(self.slots)
        return []

    monkeypatch.setattr(plugin.SlotLauncher, "launch", launch)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cli("train", "-m", "seed=1,2", "runtime=cpu", *typed)
    assert (launched, len(verb)) == ((["auto"], 0) if own else ([], 2))


def child(folder: Path, slot: int, line: str) -> Child:
    folder.mkdir(parents=True)
    made = Child(folder, {}, slot)
    made.line, made.started = line, 100.0
    return made


def test_the_table_shows_every_running_job_in_a_line_of_a_narrow_terminal(tmp_path) -> None:
    running = [child(tmp_path / f"seed-{i}", 1 - i, f"{i}00/900 images  [r1] " + "x" * 99) for i in range(2)]
    console = Console(width=60, record=True, file=open("/dev/null", "w"))
    console.print(board.table(running, "3 of 9 done, 1 failed", 165.0))
    lines = console.export_text().splitlines()
    assert [line.split()[:4] for line in lines[1:3]] == [
        [f"seed-{i}", "1:05", f"{i}00/900", "images"] for i in (1, 0)
    ]  # in the order of the slots
    assert "[r1]" in lines[1] and lines[3].strip() == "3 of 9 done, 1 failed" and max(map(len, lines)) <= 60


def test_elsewhere_every_line_names_its_job(tmp_path, capsys) -> None:
    job, lines = child(tmp_path / "seed-3", 0, ""), board.Lines(3)
    lines.passed()
    lines.said(job, "8/9 images")
    lines.ended(job, "failed", "boom")
    lines.ended(job, "done", None)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "seed-3: 8/9 images" and said[2] == "gancli: seed-3: done (1 of 2 done, 1 failed)"
    assert said[1] == f"gancli: seed-3: failed: boom; its output: {job.output} (0 of 2 done, 1 failed)"


def test_a_plan_comes_from_the_settings_that_all_jobs_share(monkeypatch) -> None:
    from omegaconf import OmegaConf

    monkeypatch.setattr(slots, "cores", lambda: 8)
    monkeypatch.setattr(slots, "memory_gib", lambda: 1000)
    assert plugin.planned(OmegaConf.create({"runtime": {"device": "cpu", "threads": 2}})) == Slots(4, 2)
