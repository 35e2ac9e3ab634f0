"""Who may write into a folder: one process at a time, and a dead one never stands in the way."""

import os
import signal
import subprocess
import sys

import pytest
from helpers import run

from gancli.errors import UsageError
from gancli.training.guard import LOCK, writing

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


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts this process's open files")
def test_no_descriptor_stays_open(holder, tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for i in range(5):
        with writing(tmp_path / str(i)):
            pass
        with pytest.raises(UsageError), writing(tmp_path):
            pass
    assert len(os.listdir("/proc/self/fd")) == before
