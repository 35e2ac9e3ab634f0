"""A signal during what training does on the side stops it at once, and a resume makes up what is missing."""

import os
import signal

import pytest
from helpers import run
from histories import differences, told

from gancli.errors import Interrupted
from gancli.metrics.fid import FID
from gancli.training import checkpoint, evaluation
from gancli.training import loop as loops
from gancli.training.doctor.measurements import Measurements
from gancli.training.stopping import Stopped, StopSignal, interruptible
from gancli.views.grid import Grid

WHOLE = [
    "log.every=16", "samples.every=32", "eval.every=32", "eval.n=20", "data.validation=20", "features.epochs=1",
    "checkpoint.every=32", "checkpoint.keep=2", "doctor.every=32", "images=96",
]  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run(folder, *WHOLE)
    return told(folder)


def interrupting(monkeypatch, owner, name, call, signum):
    """Send a signal at a call of a function, which must not end then; return how often it ended."""
    original, calls, ended = getattr(owner, name), [], []

    def slow(*args, **options):
        calls.append(1)
        if len(calls) == call:
            os.kill(os.getpid(), signum)
        found = original(*args, **options)
        ended.append(len(calls))
        return found

    monkeypatch.setattr(owner, name, slow)
    return ended


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize(
    "owner, name, call, owed",
    [
        (Grid, "draw", 1, ["samples"]),  # before the first update
        (Grid, "draw", 2, ["samples", "eval"]),
        (FID, "__call__", 1, ["eval"]),
        (evaluation.evaluation, "evaluate", 3, ["eval", "end"]),  # the last one
        (Measurements, "_game", 1, ["doctor", "samples", "eval"]),
        (Measurements, "_game", 3, ["doctor", "samples", "eval", "end"]),
        (loops, "animate", 1, ["end"]),
    ],
)
def test_what_a_signal_ends_is_owed_and_made_up(whole, tmp_path, monkeypatch, owner, name, call, owed, signum):
    ended = interrupting(monkeypatch, owner, name, call, signum)
    with pytest.raises(Interrupted, match="stopped and saved at .* images; continue with") as caught:
        run(tmp_path, *WHOLE)
    assert caught.value.signum == signum and call not in ended  # it was not waited for
    monkeypatch.undo()
    assert checkpoint.load(tmp_path).state["owed"] == owed
    assert not list(tmp_path.rglob("*.tmp"))
    run(tmp_path, *WHOLE, f"resume={tmp_path}")
    assert differences(told(tmp_path), whole) == []


def test_a_signal_in_a_step_leaves_the_examination_that_follows_for_later(whole, tmp_path, monkeypatch):
    interrupting(monkeypatch, loops, "run_turn", 4, signal.SIGTERM)
    ended = interrupting(monkeypatch, Measurements, "_game", 99, signal.SIGTERM)
    with pytest.raises(Interrupted):
        run(tmp_path, *WHOLE)
    monkeypatch.undo()
    assert ended == [] and checkpoint.load(tmp_path).state["owed"] == ["doctor", "samples", "eval"]
    run(tmp_path, *WHOLE, f"resume={tmp_path}")
    assert differences(told(tmp_path), whole) == []


def test_a_kill_while_an_examination_is_made_up_leaves_one_row_of_it(whole, tmp_path, monkeypatch):
    interrupting(monkeypatch, Measurements, "_game", 1, signal.SIGTERM)
    with pytest.raises(Interrupted):
        run(tmp_path, *WHOLE)
    monkeypatch.undo()
    monkeypatch.setattr(loops, "write_samples", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, *WHOLE, f"resume={tmp_path}")
    monkeypatch.undo()
    run(tmp_path, *WHOLE, f"resume={tmp_path}")
    assert differences(told(tmp_path), whole) == []


def test_outside_of_it_a_signal_waits_and_inside_only_the_first_one_counts():
    with interruptible():  # no StopSignal: nothing happens
        pass
    with StopSignal() as stop:
        with pytest.raises(Stopped), interruptible():
            os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signum == signal.SIGHUP
        with pytest.raises(Stopped), interruptible():
            raise AssertionError("it must not begin")
    assert StopSignal.active is None
