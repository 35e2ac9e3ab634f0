"""What guards a run: signals that ask it to stop, and the lock of the folder that a process writes into."""

import fcntl
import json
import logging
import os
import shlex
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from gancli.errors import UsageError
from gancli.files import inside

log = logging.getLogger("gancli")
LOCK = ".lock"  # in the folder that is written into, as long as somebody writes


class StopSignal:
    """Catch the first SIGINT or SIGTERM, so that the step can be finished and saved; a second Ctrl-C leaves at once."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.signum = 0  # 0 until a signal came

    def __enter__(self) -> "StopSignal":
        self.before = {}
        if threading.current_thread() is threading.main_thread():  # Python delivers signals nowhere else
            self.before = {s: signal.signal(s, self._caught) for s in self.SIGNALS}
        return self

    def _caught(self, signum: int, frame: FrameType | None) -> None:
        if self.signum:
            raise KeyboardInterrupt
        self.signum = signum
        log.info("stopping after this step; once more to leave at once")

    def __exit__(self, *exc: object) -> None:
        for signum, handler in self.before.items():
            signal.signal(signum, handler)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is made if it is missing, while this process writes into it.

    The kernel holds the lock (flock) and drops it when the process ends, however it ends: there are no stale ones. The
    file says who has it. Evaluations take no lock: each writes files of its own, whole or not at all.

    Raises:
        UsageError: another process writes there; it is named. Or the lock is a link to something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = inside(folder, LOCK)
    descriptor = _locked(path)
    try:
        os.write(descriptor, json.dumps(_who()).encode())
        yield
    finally:
        with suppress(OSError):  # the folder was removed while it was written into
            path.unlink()
        os.close(descriptor)


def _locked(path: Path) -> int:
    """Return the descriptor of an empty lock file that is locked by this process and stands at its path."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.read(descriptor, 65536).decode(errors="replace")
            os.close(descriptor)
            raise UsageError(_taken(path.parent, text)) from None
        with suppress(FileNotFoundError):  # the process before removed the file between our two calls
            if os.stat(path).st_ino == os.fstat(descriptor).st_ino:
                os.ftruncate(descriptor, 0)
                return descriptor
        os.close(descriptor)


def _who() -> dict[str, str | int]:
    return {"pid": os.getpid(), "host": socket.gethostname(), "command": shlex.join(["gancli", *sys.argv[1:]])}


def _taken(folder: Path, text: str) -> str:
    try:
        who = json.loads(text)
        name = f"process {who['pid']} on {who['host']} ({who['command']})"
    except (ValueError, KeyError, TypeError):  # it has just begun
        name = "another process"
    return f"{name} writes into {folder}; wait until it has ended, stop it, or name another folder"
