"""A run that is resumed ends like one that was never interrupted, and goes back in time without a second history."""

import json
import os
import signal

import pytest
from helpers import compose, overrides, run
from histories import differences, told

from gancli.errors import Interrupted, UsageError
from gancli.structure import read_rows
from gancli.training import checkpoint, loop
from gancli.training.loop import train

WHOLE = [
    "log.every=16", "samples.every=32", "eval.every=32", "eval.n=20", "data.validation=20", "features.epochs=1",
    "checkpoint.every=32", "checkpoint.keep=2", "doctor.every=32",
]  # fmt: skip


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run(folder, *WHOLE, "images=96")
    return told(folder)


LAST = {
    "before the pictures": (loop, "write_samples", 4),
    "before the scores": (loop, "evaluate", 3),
    "before the animation": (loop, "animate", 1),
    "after the scores": (loop.Tracker, "hparams", 1),
}


@pytest.mark.parametrize("moment", [*LAST, "before the last save", "after the last save", "while the best is saved"])
def test_a_kill_between_the_last_save_and_the_end_is_made_up(whole, tmp_path, monkeypatch, moment):
    folder = tmp_path / "run"
    owner, name, call = LAST.get(moment, (loop, "_save", 4))
    calls = []
    if moment == "while the best is saved":
        original, target = loop.evaluate, "evaluate"

        def killed(run, run_dir, tracker):
            text = original(run, run_dir, tracker)
            if run.images == 96:
                raise Killed
            return text

        monkeypatch.setattr(loop, target, killed)
    elif moment == "after the last save":
        monkeypatch.setattr(loop, "log", _Log(loop.log))
    else:
        function = getattr(owner, name)

        def killed(*args):
            calls.append(1)
            if len(calls) == call:
                raise Killed
            return function(*args)

        monkeypatch.setattr(owner, name, killed)
    with pytest.raises(Killed):
        run(folder, *WHOLE, "images=96")
    assert checkpoint.load(folder).images == 96
    monkeypatch.undo()
    if moment == "after the last save":  # all is there but its status, which is the command line's
        (folder / "status.json").write_text(json.dumps({"state": "running", "before": "running"}))
    run(folder, *WHOLE, "images=96", f"resume={folder}")
    (folder / "status.json").unlink(missing_ok=True)
    assert differences(told(folder), whole) == []
    with pytest.raises(UsageError, match="has completed its 96 images; to continue, add images=192"):
        run(folder, *WHOLE, "images=96", f"resume={folder}")


class _Log:
    """A log that ends the process with its last line."""

    def __init__(self, log):
        self.log = log

    def __getattr__(self, name):
        return getattr(self.log, name)

    def info(self, text, *args):
        if text.startswith("done"):
            raise Killed


def test_a_kill_in_the_middle_is_made_up(whole, tmp_path, monkeypatch):
    """After an evaluation on the way and before its checkpoint."""
    evaluate, calls = loop.evaluate, []

    def killed(*args):
        text = evaluate(*args)
        calls.append(1)
        if len(calls) == 2:
            raise Killed
        return text

    monkeypatch.setattr(loop, "evaluate", killed)
    with pytest.raises(Killed):
        run(tmp_path, *WHOLE, "images=96")
    assert checkpoint.load(tmp_path).images == 32
    monkeypatch.undo()
    run(tmp_path, *WHOLE, "images=96", f"resume={tmp_path}")
    assert differences(told(tmp_path), whole) == []


@pytest.mark.parametrize("how", ["a signal", "a kill"])
def test_rows_are_those_of_a_run_that_was_not_interrupted(tmp_path, monkeypatch, how):
    """Between two rows: what was measured since the last one is saved, and a stop adds no row."""
    apart = ["images=96", "log.every=48", "doctor.every=48", "checkpoint.every=16", "samples.every=0"]
    run(tmp_path / "whole", *apart)
    turn = loop.run_turn

    def stopping(run, *args, **options):
        if run.images == 32:
            if how == "a kill":
                raise Killed
            os.kill(os.getpid(), signal.SIGTERM)
        return turn(run, *args, **options)

    monkeypatch.setattr(loop, "run_turn", stopping)
    with pytest.raises((Killed, Interrupted)):
        run(tmp_path / "cut", *apart)
    monkeypatch.undo()
    run(tmp_path / "cut", *apart, f"resume={tmp_path / 'cut'}")
    assert told(tmp_path / "cut")["rows"] == told(tmp_path / "whole")["rows"]
    assert differences(told(tmp_path / "cut"), told(tmp_path / "whole")) == []


def test_how_to_go_on_is_said_where_it_helps_and_with_a_number_that_works(tmp_path):
    run(tmp_path, "images=48")
    with pytest.raises(UsageError, match="images=96"):
        run(tmp_path, "images=16", f"resume={tmp_path}")  # 2 x 16 would not help
    run(tmp_path / "passes", "epochs=1")
    with pytest.raises(UsageError, match=r"add epochs=3$"):  # 64 of 57 images were seen, with a batch of 8
        run(tmp_path / "passes", "epochs=1", f"resume={tmp_path / 'passes'}")
    run(tmp_path / "passes", "epochs=3", f"resume={tmp_path / 'passes'}")
    kde = overrides("kde")
    train(compose("train", kde), tmp_path / "kde")
    with pytest.raises(UsageError, match="its model is not trained in steps"):
        train(compose("train", [*kde, f"resume={tmp_path / 'kde'}"]), tmp_path / "kde")


def test_a_run_that_was_stopped_can_be_ended_where_it_stands_and_not_before(tmp_path):
    run(tmp_path, "images=64", "checkpoint.every=32", "checkpoint.keep=9")
    (tmp_path / "checkpoints" / checkpoint.name(64)).unlink()
    with pytest.raises(UsageError, match="has seen 32 images, more than 16; to go on, add images=64; .* images=32"):
        run(tmp_path, "images=16", f"resume={tmp_path}")
    run(tmp_path, "images=32", f"resume={tmp_path}")
    assert (tmp_path / "samples" / f"{32:012d}.png").is_file() and checkpoint.load(tmp_path).state["share"] == 1


REWIND = [*WHOLE, "checkpoint.keep=9"]


@pytest.mark.parametrize("further", [64, 160])
def test_a_rewind_sets_aside_what_came_later(tmp_path, further):
    run(tmp_path / "run", *REWIND, "images=128", "samples.every=16")
    before = told(tmp_path / "run")
    start = tmp_path / "run" / "checkpoints" / checkpoint.name(32)
    run(tmp_path / "run", *REWIND, f"images={further}", "seed=5", "optimizer.lr=1e-3", f"resume={start}")
    aside = tmp_path / "run" / "rewound-128"
    assert (
        f"going back to 32 images: all that came later is in {aside} now" in (tmp_path / "run" / "log.txt").read_text()
    )
    stems = range(64, 129, 32)
    assert {checkpoint.name(n) for n in stems} <= {path.name for path in aside.iterdir()}
    after = told(tmp_path / "run")
    assert {int(name[12:24]) for name in after["files"] if name.startswith("checkpoints/0")} <= set(range(32, 161, 32))
    assert f"samples/{48:012d}.png" in before["files"] and f"samples/{48:012d}.png" not in after["files"]
    assert (aside / "samples" / f"{48:012d}.png").is_file() and list((aside / "eval").iterdir())
    assert [row for row in after["rows"] if row["images"] <= 32] == [r for r in before["rows"] if r["images"] <= 32]
    assert max(row["images"] for row in after["rows"]) == further
    assert all(max(steps) <= further for steps in after["scalars"].values())
    assert checkpoint.load(tmp_path / "run").images == further  # what eval, sample, report and the next resume take
    kept = {row["images"] for row in read_rows(aside / "metrics.jsonl")}
    assert max(kept) == 128 and list(aside.glob("events*")) and not list(aside.glob("**/config.yaml"))


def test_a_rewound_run_equals_one_that_never_went_further(whole, tmp_path):
    run(tmp_path, *REWIND, "images=160")
    run(tmp_path, *WHOLE, "images=96", f"resume={tmp_path / 'checkpoints' / checkpoint.name(32)}")
    assert differences(told(tmp_path), whole) == []


def test_rewinding_twice_keeps_both(tmp_path):
    start = tmp_path / "checkpoints" / checkpoint.name(32)
    for more in ([], [f"resume={start}"], [f"resume={start}"]):
        run(tmp_path, *REWIND, "images=64", *more)
    aside = [tmp_path / name / checkpoint.name(64) for name in ("rewound-64", "rewound-64-2")]
    assert all(path.is_file() for path in aside) and checkpoint.load(tmp_path).images == 64


def test_going_back_to_the_best_leaves_a_checkpoint_to_go_on_from(tmp_path):
    """Even if the process ends at once: all numbered ones came later."""
    run(tmp_path, *WHOLE, "images=32")
    (tmp_path / "checkpoints" / checkpoint.name(32)).rename(tmp_path / "checkpoints" / checkpoint.name(64))
    run(tmp_path, *WHOLE, "images=40", f"resume={tmp_path / 'checkpoints' / 'best.pt'}")
    assert [path.name for path in checkpoint.numbered(tmp_path)] == [checkpoint.name(32), checkpoint.name(40)]


def test_a_job_of_a_sweep_that_begins_anew_is_a_rewind_to_the_start(tmp_path):
    run(tmp_path, *WHOLE, "images=64")
    run(tmp_path, *WHOLE, "images=32", "seed=3")
    assert [path.name for path in checkpoint.numbered(tmp_path)] == [checkpoint.name(32)]
    assert (tmp_path / "rewound-64" / "best.pt").is_file() and max(told(tmp_path)["scalars"]["eval/fid"]) == 32


def test_no_folder_is_made_where_nothing_came_later(tmp_path):
    run(tmp_path, "images=32")
    run(tmp_path, "images=64", f"resume={tmp_path}")
    assert not list(tmp_path.glob("rewound-*"))


@pytest.mark.parametrize("decay", [["schedule=linear"], ["optimizer.lr={from: 2e-4, to: 1e-6}"]])
def test_a_decayed_rate_that_jumps_is_said(tmp_path, decay):
    run(tmp_path, *decay, "images=64")
    run(tmp_path, *decay, "images=640", f"resume={tmp_path}")
    told = (tmp_path / "log.txt").read_text()
    assert "WARNING lr/generator jumps to" in told and "64 of 640 images" in told


@pytest.mark.parametrize("steady", [["schedule.warmup=600"], ["schedule=exponential", "schedule.half_life=64"]])
def test_a_rate_that_goes_on_as_planned_is_not(tmp_path, steady):
    run(tmp_path, *steady, "images=64")
    run(tmp_path, *steady, "images=128", f"resume={tmp_path}")
    assert "jumps" not in (tmp_path / "log.txt").read_text()


@pytest.mark.parametrize("key, value", [("lr", "1e-5"), ("betas", "[0.1,0.9]"), ("weight_decay", "0.1")])
def test_a_setting_that_a_network_does_not_follow_is_said(tmp_path, key, value):
    own = f"optimizer.overrides.discriminator.{key}={value.replace('1', '2')}"
    run(tmp_path, own, "images=16")
    run(tmp_path, own, f"optimizer.{key}={value}", "images=32", f"resume={tmp_path}")
    assert f"is not used for discriminator, which has its own: optimizer.overrides.discriminator.{key}=" in (
        (tmp_path / "log.txt").read_text()
    )
