"""Guards of a run: signals that ask it to stop, and the lock of the folder that it writes into."""

import errno
import fcntl
import json
import os
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from gancli.errors import Terminated, UsageError
from gancli.files import LOCK, UNFINISHED, check_empty, inside

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DEAD = "its process ended without a word: it was killed, or its machine went down"
_COMPLETE = ".complete"  # in UNFINISHED: it only has to be moved
_TRIES, _PAUSE = 5, 0.05  # seconds; readers of a lock hold it for a moment

_held: dict[Path, int] = {}  # folder that this process writes into -> its descriptor
_locks: dict[Path, int] = {}  # the same folders -> the descriptors of their locks


def asking() -> list[signal.Signals]:
    """Return the signals that ask to stop: Ctrl-C, kill, a lost terminal (not under nohup), a cluster's warnings."""
    names = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
    return [each for each in names if each != signal.SIGHUP or signal.getsignal(each) != signal.SIG_IGN]


@contextmanager
def handling(signals: list[signal.Signals], handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle signals inside; Python delivers them to the main thread alone, so others change nothing."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {each: signal.signal(each, handler) for each in signals}
    try:
        yield
    finally:
        for each, previous in before.items():
            signal.signal(each, previous)


@contextmanager
def terminable() -> Iterator[None]:
    """Turn signals that ask to stop into Terminated (SIGINT: KeyboardInterrupt), so that what was begun is recorded."""

    def terminate(signum: int, frame: FrameType | None) -> None:
        raise Terminated(signum)

    with handling([each for each in asking() if each != signal.SIGINT], terminate):
        yield


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is created if missing.

    The kernel holds the lock (flock) until the process ends for any reason, so there are no stale locks. The file names
    the owner. A process that already holds the lock keeps it.

    Raises:
        UsageError: another process holds it; the message names it. Or the lock is a link elsewhere.
    """
    key = folder.absolute()
    if key in _held:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = inside(folder, LOCK)
    descriptor = _locks[key] = _locked(path)
    _held[key] = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a full disk, which other writes report; the lock holds without a name
            os.write(descriptor, json.dumps(_who()).encode())
        yield
    finally:
        with suppress(OSError):  # the folder has been removed in the meantime
            if os.stat(path).st_ino == os.fstat(descriptor).st_ino:
                path.unlink()
        os.close(_held.pop(key))
        os.close(_locks.pop(key))


def lock_of(folder: Path) -> int | None:
    """Return the descriptor of a lock, for a child that inherits it and holds it, too; None if there is no lock."""
    return _locks.get(folder.absolute())


def adopt(folder: Path) -> None:
    """Write into a folder whose lock was inherited from the process that started this one."""
    _held[folder.absolute()] = os.open(folder, os.O_RDONLY)


@contextmanager
def writing(folder: Path, advice: Callable[[], str] | None = None) -> Iterator[None]:
    """Hold the lock of a folder while this process writes into it, and explain what the disk answers.

    Args:
        folder: what is written into.
        advice: returns what to do when its disk is full; None: free some space or choose another folder.

    Raises:
        UsageError: see locked(). Or the folder was removed or moved in the meantime, or its disk is full.
    """
    with locked(folder):
        try:
            yield
        except OSError as error:
            check_in_place(folder)
            if error.errno not in FULL:
                raise
            what = advice() if advice else "free some space, or choose a folder on another disk"
            full = f"no space left on the disk of {folder}; what was complete there is untouched; {what}"
            raise UsageError(full) from error
        check_in_place(folder)


@contextmanager
def filling(folder: Path) -> Iterator[Path]:
    """Yield a folder inside of ``folder`` to write results into, all of which are moved up when they are complete.

    What is left unfinished does not count: the folder is as empty as before, and the same command may be repeated.

    Raises:
        UsageError: see writing(); or the folder holds files.
    """
    with writing(folder):
        part = inside(folder, UNFINISHED)
        if (part / _COMPLETE).exists():  # killed while they were moved
            _move_up(part)
        check_empty(folder)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        try:
            yield part
            (part / _COMPLETE).touch()
            _move_up(part)
        finally:
            if not (part / _COMPLETE).exists():
                shutil.rmtree(part, ignore_errors=True)


def _move_up(part: Path) -> None:
    """Move complete results out of the folder that they were written into, and remove it."""
    for each in sorted(part.iterdir()):
        if each.name != _COMPLETE:
            os.replace(each, part.parent / each.name)
    shutil.rmtree(part)


def check_in_place(folder: Path) -> None:
    """Check that a folder that this process holds is still where it was, before anything is written into it.

    Raises:
        UsageError: it was moved or removed; the message names the place where it is now.
    """
    descriptor = _held.get(folder.absolute())
    if descriptor is None:
        return
    with suppress(OSError):
        there, ours = os.stat(folder), os.fstat(descriptor)
        if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
            return
    with suppress(OSError):  # there is no /proc on other systems than Linux
        now = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if now.is_dir():
            raise UsageError(f"{folder} was moved to {now} while it was written into; what is complete is there: {now}")
    raise UsageError(f"{folder} was removed while it was written into; nothing more is written: run the command again")


def held(folder: Path) -> bool:
    """Tell whether a living process holds the lock of a folder."""
    if folder.absolute() in _held:
        return True
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def told(folder: Path, status: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the contents of a status.json with the truth about a run that says that it is running, and is dead."""
    if status is None or status["state"] != "running" or held(folder):
        return status
    return status | {"state": "interrupted", "error": DEAD}


def _locked(path: Path) -> int:
    """Return the descriptor of an empty lock file at ``path`` that this process has locked."""
    tries = 0
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.read(descriptor, 65536).decode(errors="replace")
            os.close(descriptor)
            if (tries := tries + 1) == _TRIES:
                raise UsageError(_taken(path.parent, text)) from None
            time.sleep(_PAUSE)
            continue
        with suppress(FileNotFoundError):  # the previous owner removed the file between our two calls
            if os.stat(path).st_ino == os.fstat(descriptor).st_ino:
                os.ftruncate(descriptor, 0)
                return descriptor
        os.close(descriptor)


def _who() -> dict[str, str | int]:
    import socket

    return {"pid": os.getpid(), "host": socket.gethostname(), "command": shlex.join(["gancli", *sys.argv[1:]])}


def _taken(folder: Path, text: str) -> str:
    try:
        who = json.loads(text)
        name = f"process {who['pid']} on {who['host']} ({who['command']})"
    except (ValueError, KeyError, TypeError):  # the owner has not written its name yet
        name = "another process"
    return f"{name} is writing into {folder}; wait until it ends, stop it, or choose another folder"
