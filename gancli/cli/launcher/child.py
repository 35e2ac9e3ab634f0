"""The process of one job: it reads what to run from its standard input, whose end tells that the launcher is gone."""

import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

GRACE = 2.0  # seconds that an orphan has to finish its step and to save

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


def main() -> None:
    """Run the task on the standard input; exit with 0 once its end is recorded, with 128 + n after a signal."""
    task: Task = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_follow, args=(sys.stdin.fileno(),), daemon=True).start()
    sys.argv = task.argv
    from gancli.cli.launcher import plugin  # imports Hydra, while the launcher is watched already

    plugin.run(task)


def _follow(pipe: int) -> None:
    """Wait until the launcher's end of the pipe is closed, which the kernel does for a killed one, and end then."""
    while os.read(pipe, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os.kill(os.getpid(), signal.SIGKILL)
