"""The processes of the jobs: started, listened to, asked to stop, and what is recorded of those that died."""

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from gancli.cli import status
from gancli.cli.launcher.child import PROGRAM, Task
from gancli.cli.launcher.slots import Slots
from gancli.files import inside
from gancli.training import guard

OUTPUT = "output.txt"  # in a job's folder: all that its process wrote
PAUSE = 0.1  # seconds between looks at the processes
_TAIL = 2000  # characters of the output in which the reason of a death is looked for


class Listener(Protocol):
    """What is told about the jobs, see board.py."""

    def begun(self, child: "Child") -> None: ...
    def said(self, child: "Child", line: str) -> None: ...
    def ended(self, child: "Child", state: str, error: str | None) -> None: ...
    def look(self, running: "list[Child]") -> None: ...
    def passed(self) -> None: ...


class Child:
    """A job that another process runs.

    Args:
        folder: the job's folder.
        facts: its status.json as far as it is known before it begins.
        slot: number of the slot that it occupies.

    Raises:
        UsageError: the file of its output is a link out of the folder.
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any], slot: int) -> None:
        self.folder, self.facts, self.slot = folder, facts, slot
        self.name = folder.name
        self.line = ""  # the last that it said
        self.started = time.monotonic()
        self.output = inside(folder, OUTPUT)  # of a sweep that may be another's
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, task: Task, environment: Mapping[str, str]) -> None:
        """Start the process; its output goes into a file, so that it outlives this process without a broken pipe."""
        with self.output.open("ab") as output:
            self.reader = self.output.open("rb")  # once: the folder may be moved while the job runs
            self.reader.seek(0, os.SEEK_END)
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, self.name], stdin=subprocess.PIPE, stdout=output, stderr=output,
                env=dict(environment), start_new_session=True,  # a terminal's Ctrl-C reaches it once, through us
            )  # fmt: skip
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has died already, and its exit code says so
            self.process.stdin.write(pickle.dumps(sys.path) + pickle.dumps(task))
            self.process.stdin.flush()

    def lines(self) -> Iterator[str]:
        """Yield the whole lines that were written since the last call."""
        data = self.reader.read()
        whole = data[: data.rfind(b"\n") + 1]
        self.reader.seek(len(whole) - len(data), os.SEEK_CUR)
        for line in whole.decode(errors="replace").splitlines():
            self.line = line.strip() or self.line
            yield line

    def code(self) -> int | None:
        """Return the exit code, minus the signal that killed it; None while it runs."""
        assert self.process is not None
        return self.process.poll()

    def ask(self, signum: int) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(signum)  # does nothing to a process that has ended

    def end(self, *, stopped: bool) -> tuple[str, str | None]:
        """Record the end of a process that could not do it itself; return the job's state and its error."""
        assert self.process is not None and self.process.stdin is not None
        with suppress(BrokenPipeError), self.reader:
            self.process.stdin.close()
            self.reader.seek(-min(self.reader.tell(), _TAIL), os.SEEK_CUR)
            last = self.reader.read().decode(errors="replace").strip().rpartition("\n")[2]
        code, own = self.process.returncode, status.read(self.folder)
        done = own is not None and (own["state"], own.get("config")) == ("done", self.facts["config"])
        if own is None or not done and (code < 0 or 0 < code <= 128):  # else it was killed after its last word
            own = {**self.facts, "config": (own or {}).get("config", "")}  # that of its checkpoints
            own |= {"state": "interrupted" if stopped else "failed", "error": died(code, last)}
            status.write(self.folder, own | {"seconds": round(time.monotonic() - self.started, 3)})
        return own["state"], own["error"]


def died(code: int, last: str) -> str:
    """Return in one line why a process ended with an exit code, minus a signal, without recording it.

    Args:
        code: the exit code.
        last: the last line that it wrote.
    """
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"its process was killed by {name}" + (": out of memory?" if code == -signal.SIGKILL else "")
    return f"its process ended with exit code {code}: {last or 'it said nothing'}"


class Pool:
    """Runs jobs in processes, at most as many at a time as there are slots.

    Args:
        slots: what the jobs may use.
        listener: is told what happens.
    """

    def __init__(self, slots: Slots, listener: Listener) -> None:
        self.slots, self.listener = slots, listener
        self.running: list[Child] = []
        self.signum = 0  # the first signal that asked to stop; 0 until one arrives
        self.asked = 0  # number of Ctrl-C

    @contextmanager
    def open(self) -> Iterator[None]:
        """Pass signals that ask to stop on to the jobs while inside, and wait for all jobs at the end."""
        with guard.handling(guard.asking(), self._caught):
            whole = False
            try:
                yield
                whole = True
            finally:
                if not whole:  # an error of ours: the jobs finish their steps, and can go on later
                    self._pass_on(signal.SIGTERM)
                while self.running:
                    self._look()

    def start(self, folder: Path, facts: Mapping[str, Any], task: Task) -> None:
        """Start a job as soon as a slot is free; do nothing if a signal asks to stop."""
        if not self.free():
            return
        slot = min(set(range(self.slots.number)) - {each.slot for each in self.running})
        child = Child(folder, facts, slot)
        child.start(task, self.slots.environment(slot, os.environ))
        self.running.append(child)
        self.listener.begun(child)

    def free(self) -> bool:
        """Wait until a slot is free; return False if a signal asks to stop."""
        while len(self.running) >= self.slots.number and not self.signum:
            self._look()
        return not self.signum

    def _look(self) -> None:
        """Pass on what the jobs say, and take out those that have ended."""
        for child in [*self.running]:
            ended = child.code() is not None  # asked first: what it said before is read below
            for line in child.lines():
                self.listener.said(child, line)
            if ended:
                self.running.remove(child)
                self.listener.ended(child, *child.end(stopped=bool(self.signum)))
        self.listener.look(self.running)
        time.sleep(PAUSE if self.running else 0)

    def _caught(self, signum: int, frame: FrameType | None) -> None:
        """Ask the jobs to finish their steps; a second Ctrl-C to exit at once; with a third they are killed."""
        self.asked += signum == signal.SIGINT
        if not self.signum or (signum == signal.SIGINT and self.asked > 1):
            self.signum = self.signum or signum
            self._pass_on(signal.SIGKILL if self.asked > 2 else signum)

    def _pass_on(self, signum: int) -> None:
        for child in self.running:
            child.ask(signum)
