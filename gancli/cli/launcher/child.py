"""The process of one job: it reads what to run from its standard input, whose end tells that the launcher is gone."""

import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

GRACE = 2  # seconds that an orphan has to finish its step and to save
LOOKS = 0.5  # seconds between two looks at a parent that no pipe leads to
_FOLLOWING = threading.Lock()  # taken once in a process

# sys.path is that of the launcher: its first entry is not always the folder that a process is started in.
PROGRAM = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer)\n"
    "from gancli.cli.launcher import child; child.main()"
)


class Task(NamedTuple):
    """What a process runs.

    Args:
        argv: the job's own command line, by which locks name it.
        job: is called with the config.
        config: composed by Hydra, with its own node.
    """

    argv: list[str]
    job: Callable[[Any], object]
    config: Any

    def run(self) -> int:
        """Run the job; return the exit code, 0 once its end is recorded, and 128 + n after a signal."""
        from gancli.cli.launcher import plugin  # imports Hydra, while the launcher is watched already

        return plugin.run(self)


class Runnable(Protocol):
    """What a process is given by its standard input."""

    @property
    def argv(self) -> list[str]:
        """The command line that it stands for."""

    def run(self) -> int:
        """Do the work and return the exit code."""


def main() -> None:
    """Run the task on the standard input, and exit with its code.

    By then all that the job opened is closed, and the interpreter is left at once: to clear up after torch takes it as
    long as a small job.
    """
    task: Runnable = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_follow, args=(sys.stdin.fileno(),), daemon=True).start()
    sys.argv = task.argv
    code = task.run()
    sys.stdout.flush(), sys.stderr.flush()
    os._exit(code)


def _follow(pipe: int) -> None:
    """Wait until the launcher's end of the pipe is closed, which the kernel does for a killed one, and end then.

    The alarm is the kernel's, as well: a thread would wait for its turn while another one imports or saves.
    """
    while os.read(pipe, 4096):
        pass
    _end()


def follow_parent() -> None:
    """End this process, a worker of another launcher such as joblib's, soon after the one that started it."""
    if _FOLLOWING.acquire(blocking=False):
        threading.Thread(target=_outlive, args=(os.getppid(),), daemon=True).start()


def _outlive(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOKS)
    _end()


def _end() -> None:
    signal.alarm(GRACE)
    os.kill(os.getpid(), signal.SIGTERM)
