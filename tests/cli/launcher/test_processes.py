"""The processes of a sweep's jobs: slots, signals, deaths and orphans. What they run are small programs."""

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from processes import alive, until

from gancli.cli import status
from gancli.cli.job import Job
from gancli.cli.launcher import pool
from gancli.cli.launcher.slots import Slots
from gancli.errors import UsageError

FACTS = {
    "overrides": ["seed=1"], "choices": {}, "state": "running", "config": "", "metrics": {}, "seconds": 0.0,
    "error": None, "job": 1,
}  # fmt: skip
WRITES = "write = lambda state: open('status.json', 'w').write(json.dumps(facts | {'state': state}))\n"
STAND_IN = (
    "import json, os, pickle, signal, sys, time; pickle.load(sys.stdin.buffer)\n"
    f"where, facts, source = pickle.load(sys.stdin.buffer); os.chdir(where)\n{WRITES}exec(source)"
)
WAITS = "signal.signal(signal.SIGINT, lambda *_: (write('interrupted'), os._exit(130)))\nprint('ready', flush=True)\n"


class Heard:
    """Notes what the pool says, and may answer a line."""

    def __init__(self, answer: Callable[[str], None] = lambda line: None) -> None:
        self.answer, self.ends, self.most = answer, dict[str, tuple[str, str | None]](), 0

    def begun(self, child: pool.Child) -> None: ...

    def passed(self) -> None: ...

    def said(self, child: pool.Child, line: str) -> None:
        self.answer(line)

    def ended(self, child: pool.Child, state: str, error: str | None) -> None:
        self.ends[child.name] = state, error

    def look(self, running: list[pool.Child]) -> None:
        self.most = max(self.most, len(running))


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that runs programs in a pool, and returns it and what was heard."""
    monkeypatch.setattr(pool, "PROGRAM", STAND_IN)
    monkeypatch.setattr(pool, "PAUSE", 0.01)

    def run(sources: dict[str, str], slots: Slots, heard: Heard) -> pool.Pool:
        runs = pool.Pool(slots, heard)
        with runs.open():
            for name, source in sources.items():
                (tmp_path / name).mkdir(exist_ok=True)
                task: Any = (str(tmp_path / name), FACTS, source)
                runs.start(tmp_path / name, FACTS, task)
        return runs

    return run


def test_there_are_never_more_jobs_than_slots_and_each_has_a_slot_of_its_own(launch, tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    names = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
    source = f"print(*map(os.environ.get, {names})); time.sleep(.1); write('done')"
    heard = Heard()
    launch({str(i): source for i in range(5)}, Slots(2, 3, ("0", "MIG-7")), heard)
    assert heard.most == 2 and heard.ends == {str(i): ("done", None) for i in range(5)}
    said = [(tmp_path / str(i) / pool.OUTPUT).read_text().split() for i in range(5)]
    assert {tuple(each) for each in said} == {("3", "0"), ("3", "MIG-7")}


def test_a_job_that_dies_takes_nobody_with_it_and_its_status_says_why(launch, tmp_path) -> None:
    sources = {
        "killed": "write('running'); os.kill(os.getpid(), signal.SIGKILL)",
        "left": "print('no such module'); os._exit(3)",
        "good": "time.sleep(.1); write('done')",
    }
    heard = Heard()
    launch(sources, Slots(2, 1), heard)
    assert heard.ends["good"] == ("done", None)
    for name, why in (("killed", "killed by SIGKILL: out of memory?"), ("left", "exit code 3: no such module")):
        found = status.read(tmp_path / name)
        assert found["state"] == "failed" and why in found["error"] and found["overrides"] == ["seed=1"]
        assert heard.ends[name] == ("failed", found["error"])


def test_a_job_whose_folder_is_removed_takes_nobody_with_it(launch, tmp_path) -> None:
    removes = "import shutil; print('going', flush=True); shutil.rmtree(os.getcwd())"
    heard = Heard()
    launch({"gone": removes, "good": "time.sleep(.1); write('done')"}, Slots(2, 1), heard)
    assert heard.ends["good"] == ("done", None)
    assert heard.ends["gone"] == ("failed", "its process ended with exit code 0: going")


def test_a_job_that_is_killed_after_its_last_word_is_done(launch, tmp_path) -> None:
    """One that was done with other settings, and is killed before it begins, is not."""
    died = "write('done'); os.kill(os.getpid(), signal.SIGKILL)"
    heard = Heard()
    launch({"done": died, "other": "facts['config'] = 'old'; " + died}, Slots(2, 1), heard)
    assert heard.ends["done"] == ("done", None) and heard.ends["other"][0] == "failed"
    assert status.read(tmp_path / "other")["state"] == "failed"


def test_a_killed_job_keeps_the_config_of_its_checkpoints(launch, tmp_path) -> None:
    source = "facts['config'] = 'abc'; write('running'); os.kill(os.getpid(), signal.SIGKILL)"
    launch({"killed": source}, Slots(1, 1), Heard())
    assert status.read(tmp_path / "killed")["config"] == "abc"


@pytest.mark.parametrize("patient", [True, False])
def test_ctrl_c_reaches_every_job_once_and_a_third_one_kills(launch, tmp_path, patient: bool) -> None:
    ignores = "signal.signal(signal.SIGINT, lambda *_: print('again', flush=True))\n"
    source = WAITS + ("" if patient else ignores) + "while True: time.sleep(.01)"
    ready: list[str] = []

    def answer(line: str) -> None:
        ready.append(line)
        if ready.count("ready") == 2:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    heard = Heard(answer)
    runs = launch({"a": source, "b": source, "never": source}, Slots(2, 1), heard)
    assert runs.signum == signal.SIGINT and signal.getsignal(signal.SIGINT) is before
    assert {name: state for name, (state, _) in heard.ends.items()} == {"a": "interrupted", "b": "interrupted"}
    assert not status.read(tmp_path / "never")
    assert runs.asked == 1 if patient else runs.asked >= 3


def test_no_job_outlives_its_launcher(tmp_path) -> None:
    """One that ends when it is asked to, and one that is deaf and has to be killed."""
    program = (
        "import os, pickle, signal, sys, threading, time; pickle.load(sys.stdin.buffer)\n"
        "from gancli.cli.launcher import child; name = pickle.load(sys.stdin.buffer); child.GRACE = 1\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN if name == 'deaf' else lambda *_: os._exit(143))\n"
        "threading.Thread(target=child._follow, args=(0,), daemon=True).start()\n"
        "print(os.getpid(), flush=True)\nwhile True: time.sleep(.01)"
    )
    launcher = (
        "import sys\nfrom pathlib import Path\nfrom gancli.cli.launcher import board, pool\n"
        "from gancli.cli.launcher.slots import Slots\n"
        f"pool.PROGRAM, where = {program!r}, Path(sys.argv[1])\n"
        "runs = pool.Pool(Slots(2, 1), board.Lines(2))\n"
        "with runs.open():\n    for name in ('deaf', 'good'):\n"
        "        (where / name).mkdir(); runs.start(where / name, {}, name)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, "-c", launcher, str(tmp_path)], env=environment)
    outputs = [tmp_path / name / pool.OUTPUT for name in ("deaf", "good")]
    until(lambda: all(file.exists() and file.read_text().endswith("\n") for file in outputs))
    jobs = [int(file.read_text()) for file in outputs]
    assert all(map(alive, jobs))
    parent.kill()
    parent.wait()
    until(lambda: not any(map(alive, jobs)))


@pytest.mark.parametrize("deaf", [False, True])
def test_no_worker_of_another_launcher_outlives_it(deaf, tmp_path) -> None:
    """Jobs are unpickled in such a worker, which no pipe connects with what started it."""
    program = (
        "import os, pickle, signal, sys, time\nfrom gancli.cli.launcher import child\nchild.GRACE = 1\n"
        f"signal.signal(signal.SIGTERM, signal.SIG_IGN if {deaf} else lambda *_: os._exit(143))\n"
        "pickle.loads(bytes.fromhex(sys.argv[1]))\nprint(os.getpid(), flush=True)\nwhile True: time.sleep(.01)"
    )
    job = pickle.dumps(Job("train")).hex()
    launcher = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', *sys.argv[1:]]).wait()"
    environment, output = os.environ | {"PYTHONPATH": str(ROOT)}, tmp_path / "output.txt"
    with output.open("wb") as file:
        parent = subprocess.Popen([sys.executable, "-c", launcher, program, job], env=environment, stdout=file)
    until(lambda: output.read_text().endswith("\n"))
    worker = int(output.read_text())
    assert alive(worker)
    parent.kill()
    parent.wait()
    until(lambda: not alive(worker))


def test_an_error_of_the_launcher_ends_its_jobs(launch, tmp_path) -> None:
    source = (
        "signal.signal(signal.SIGTERM, lambda *_: (write('interrupted'), os._exit(143)))\nprint('ready', flush=True)"
    )

    def answer(line: str) -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        launch({"a": source + "\nwhile True: time.sleep(.01)", "b": source}, Slots(1, 1), Heard(answer))
    assert json.loads((tmp_path / "a" / "status.json").read_text())["state"] == "interrupted"


def test_the_output_of_a_job_never_goes_through_a_link(tmp_path) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "job" / pool.OUTPUT).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="output.txt"):
        pool.Child(tmp_path / "job", FACTS, 0)
    assert (tmp_path / "elsewhere").read_text() == "mine"
