"""Guards of a run: signals that ask it to stop, and the lock of the folder that it writes into."""

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
LOCK = ".lock"  # exists in a folder while a process writes into it


class StopSignal:
    """Catch the first SIGINT or SIGTERM so that the step can be finished and saved; a second one exits at once."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.signum = 0  # 0 until a signal arrives

    def __enter__(self) -> "StopSignal":
        self.before = {}
        if threading.current_thread() is threading.main_thread():  # Python delivers signals to no other thread
            self.before = {s: signal.signal(s, self._caught) for s in self.SIGNALS}
        return self

    def _caught(self, signum: int, frame: FrameType | None) -> None:
        if self.signum:
            raise KeyboardInterrupt
        self.signum = signum
        log.info("stopping after this step; press Ctrl-C again to exit at once")

    def __exit__(self, *exc: object) -> None:
        for signum, handler in self.before.items():
            signal.signal(signum, handler)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is created if missing, while this process writes into it.

    The kernel holds the lock (flock) and releases it when the process ends for any reason, so there are no stale locks.
    The file names the owner. Evaluations take no lock, as each writes files of its own, atomically.

    Raises:
        UsageError: another process is writing into the folder; the message names it. Or the lock is a link elsewhere.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = inside(folder, LOCK)
    descriptor = _locked(path)
    try:
        os.write(descriptor, json.dumps(_who()).encode())
        yield
    finally:
        with suppress(OSError):  # the folder has been removed in the meantime
            path.unlink()
        os.close(descriptor)


def _locked(path: Path) -> int:
    """Return the descriptor of an empty lock file at ``path`` that this process has locked."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.read(descriptor, 65536).decode(errors="replace")
            os.close(descriptor)
            raise UsageError(_taken(path.parent, text)) from None
        with suppress(FileNotFoundError):  # the previous owner removed the file between our two calls
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
    except (ValueError, KeyError, TypeError):  # the owner has not written its name yet
        name = "another process"
    return f"{name} is writing into {folder}; wait until it ends, stop it, or choose another folder"
