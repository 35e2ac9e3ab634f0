"""Who may write into a folder: one process at a time, and a dead one never stands in the way."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from helpers import overrides, run

from gancli.cli import status, sweep
from gancli.errors import UsageError
from gancli.files import LOCK, UNFINISHED
from gancli.training.guard import filling, held, locked, terminable, writing
from gancli.training.stopping import StopSignal
from gancli.verbs.report import runs

HOLD = """
import sys, time
from pathlib import Path
from gancli.training.guard import writing
with writing(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_process_is_refused_and_told_who_writes(holder, tmp_path):
    with pytest.raises(UsageError, match=f"process {holder.pid} on .* is writing into {tmp_path}"), writing(tmp_path):
        pass
    with pytest.raises(UsageError, match=f"process {holder.pid}"):
        run(tmp_path, "images=16")
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]  # nothing was written


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_died_holds_no_lock(holder, tmp_path, how):
    os.kill(holder.pid, how)
    holder.wait()
    with writing(tmp_path):
        assert (tmp_path / LOCK).is_file()
    assert not (tmp_path / LOCK).exists()


def test_a_lock_file_of_another_time_is_no_lock(tmp_path):
    (tmp_path / LOCK).write_text("not json" * 100)
    with writing(tmp_path):
        assert str(os.getpid()) in (tmp_path / LOCK).read_text()


def test_the_lock_goes_with_its_folder_and_comes_with_a_new_one(tmp_path):
    with pytest.raises(UsageError, match="new/run was removed"), writing(tmp_path / "new" / "run"):
        (tmp_path / "new" / "run" / LOCK).unlink()
        (tmp_path / "new" / "run").rmdir()
    with writing(tmp_path / "new" / "run"):
        assert (tmp_path / "new" / "run" / LOCK).is_file()


def test_a_run_leaves_no_lock_behind(tmp_path):
    run(tmp_path, "images=16")
    run(tmp_path, "images=32", f"resume={tmp_path}")
    assert not (tmp_path / LOCK).exists()


def test_a_folder_that_this_process_holds_is_not_locked_twice(tmp_path):
    with locked(tmp_path):
        with writing(tmp_path):
            assert held(tmp_path)
        assert held(tmp_path) and (tmp_path / LOCK).is_file()
    assert not held(tmp_path)


def test_a_reader_does_not_stand_in_the_way_of_a_writer(tmp_path):
    with open(tmp_path / LOCK, "w") as file, ThreadPoolExecutor() as pool:
        fcntl.flock(file, fcntl.LOCK_SH)  # as held() does for a moment
        pool.submit(lambda: (time.sleep(0.05), fcntl.flock(file, fcntl.LOCK_UN)))
        with writing(tmp_path):
            assert held(tmp_path)


def status_of(folder, **values):
    known = {"state": "running", "overrides": [], "metrics": {}, "seconds": 0.0, "error": None, "config": "x"}
    (folder / "status.json").write_text(json.dumps(known | values))


def test_a_dead_run_is_not_running_for_any_reader(holder, tmp_path, cli):
    """Of a process that lives, of one that was killed, and of a release without a lock."""
    status_of(tmp_path)
    assert status.read(tmp_path)["state"] == "running"
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    (tmp_path / "other").mkdir()
    run(tmp_path / "other", "images=16")
    for file in ("config.yaml", "metrics.jsonl"):
        shutil.copy(tmp_path / "other" / file, tmp_path)
    status_of(tmp_path / "other", state="done")
    assert status.read(tmp_path)["state"] == "interrupted" and status.read(tmp_path / "other")["state"] == "done"
    assert "killed" in status.read(tmp_path)["error"]
    assert runs.read(tmp_path).state == "interrupted"
    assert {row["run"]: row["state"] for row in sweep.rows(tmp_path)} == {".": "interrupted", "other": "done"}
    assert "interrupted: its process ended without a word" in cli("doctor", str(tmp_path)).out


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_during_start_up_is_recorded(tmp_path, cli, monkeypatch, signum):
    monkeypatch.setattr("gancli.training.loop.build", lambda cfg: (os.kill(os.getpid(), signum), time.sleep(5)))
    before = signal.getsignal(signum)
    answer = cli("train", *overrides("dcgan"), f"hydra.run.dir={tmp_path / 'run'}")
    assert answer.code == 128 + signum and "interrupted" in answer.err and "Traceback" not in answer.err
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "interrupted"
    assert signal.getsignal(signum) is before and not (tmp_path / "run" / LOCK).exists()


def test_under_nohup_a_lost_terminal_stops_nothing():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignal() as stop, terminable():
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.signum == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_follows_a_warning_does_not_cut_the_save_short():
    """A cluster warns with SIGUSR1 and sends SIGTERM later."""
    with StopSignal() as stop:
        for signum in (signal.SIGUSR1, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
            os.kill(os.getpid(), signum)
        assert stop.signum == signal.SIGUSR1


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts this process's open files")
def test_no_descriptor_stays_open(holder, tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for i in range(5):
        with writing(tmp_path / str(i)):
            pass
        with pytest.raises(UsageError), writing(tmp_path):
            pass
    assert len(os.listdir("/proc/self/fd")) == before


FILL = """
import os, signal, sys
from pathlib import Path
from gancli.training import guard
with guard.filling(Path(sys.argv[1])) as folder:
    for i in range(3):
        (folder / f"{i}.png").write_text("new")
        if i == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
    move, moved = guard.os.replace, []
    def killed(*args):
        move(*args)
        os.kill(os.getpid(), signal.SIGKILL)
    guard.os.replace = killed
"""


def filled_by_a_process_that_is_killed(out, after):
    subprocess.run([sys.executable, "-c", FILL, str(out), str(after)], check=False)
    assert (out / UNFINISHED).is_dir()


@pytest.mark.parametrize("exists", [False, True])
def test_what_a_killed_process_left_half_done_is_done_again(tmp_path, exists):
    out = tmp_path / "out"
    if exists:
        out.mkdir()
    filled_by_a_process_that_is_killed(out, 1)
    with filling(out) as folder:
        assert not list(folder.iterdir())  # nothing of the other job's is mixed up with this one
        (folder / "sub").mkdir()
        (folder / "sub" / "0.png").write_text("mine")
        (folder / "9.png").write_text("mine")
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*")) == ["9.png", "sub", "sub/0.png"]


def test_what_was_complete_when_its_process_was_killed_is_kept(tmp_path):
    filled_by_a_process_that_is_killed(tmp_path, -1)
    assert sorted(p.name for p in tmp_path.glob("*.png")) == ["0.png"]
    with pytest.raises(UsageError, match="is not empty, and nothing is overwritten"), filling(tmp_path):
        raise AssertionError("it must not begin")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0.png", "1.png", "2.png"]


def test_an_error_leaves_an_empty_folder_and_a_users_files_stay(tmp_path):
    with pytest.raises(KeyboardInterrupt), filling(tmp_path / "out") as folder:
        (folder / "0.png").write_text("half")
        raise KeyboardInterrupt
    assert list((tmp_path / "out").iterdir()) == []
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"), filling(tmp_path / "out"):
        raise AssertionError("it must not begin")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_link_in_place_of_the_unfinished_results_is_not_followed(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("mine")
    (tmp_path / "out" / UNFINISHED).symlink_to(tmp_path / "precious")
    with pytest.raises(UsageError, match="remove that link"), filling(tmp_path / "out"):
        raise AssertionError("it must not begin")
    assert (tmp_path / "precious" / "file").read_text() == "mine"
