"""The processes of one command: started together, watched, asked to stop together, and ended if one of them dies.

gancli train runtime.gpus=2
gancli train runtime=cpu runtime.processes=2
gancli eval latest runtime.gpus=2
"""

import os
import pickle
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, NamedTuple

from gancli.cli.launcher.child import PROGRAM
from gancli.cli.launcher.pool import PAUSE, died
from gancli.errors import Interrupted, RankLost, command, trusting
from gancli.files import replacing
from gancli.training import checkpoint, guard, place
from gancli.verbs import VERBS
from gancli.verbs.base import Verb

GRACE = 2  # seconds that the others have to say what is wrong, once one of them has ended badly
MEETING = "meeting"  # the file by which the processes find each other


class Member(NamedTuple):
    """What one of the processes does.

    Args:
        argv: the command line, by which locks name it.
        verb: name of the verb.
        config: checked.
        folder: of the run, whose lock the first process has inherited.
        place: of the process among the others.
        answer: where it leaves what the verb returned, or the error.
    """

    argv: list[str]
    verb: str
    config: Any
    folder: Path
    place: place.Group
    answer: Path

    def run(self) -> int:
        """Run the verb and leave an answer; the exit code is 0 if there is one."""
        from gancli.training import ranks  # imports torch, while the parent is watched already

        found: Any
        try:
            with guard.terminable():
                if VERBS[self.verb].makes_runs and self.place.rank == 0 and guard.lock_of(self.folder) is None:
                    guard.adopt(self.folder)
                ranks.join(self.place, f"file://{self.answer.parent / MEETING}")
                found = VERBS[self.verb].run(self.config, self.folder)
        except (Exception, KeyboardInterrupt) as error:
            found = _portable(error)
        with replacing(self.answer) as temporary:
            temporary.write_bytes(pickle.dumps(found))
        return 0


def _portable(error: BaseException) -> BaseException:
    """Return an error as another process can read it, with its traceback as a note."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except (pickle.PicklingError, AttributeError, TypeError):
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def run(argv: Sequence[str], verb: Verb, config: Any, folder: Path, number: int) -> dict[str, float]:
    """Run a verb in ``number`` processes of this machine and return what the first of them returns.

    Args:
        argv: the command line.
        verb: what is run.
        config: checked.
        folder: of the run; this process holds its lock.
        number: 2 or more.

    Raises:
        RankLost: one of them died; by then all have ended.
        UsageError, TrainingDiverged, Interrupted: what one of them raised.
    """
    with TemporaryDirectory(prefix="gancli-") as meeting:
        crew = Crew(folder)
        try:
            with guard.handling(guard.asking(), crew.caught):
                for rank in range(number):
                    where = Path(meeting) / f"answer-{rank}"
                    own = place.Group(rank, number, rank)
                    crew.start(Member(list(argv), verb.name, config, folder, own, where))
                crew.watch()
        finally:
            crew.end()
        return crew.result()


class Crew:
    """The processes of one training, in the order of their ranks.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.members: list[tuple[Member, subprocess.Popen[bytes]]] = []
        self.lost: dict[int, int] = {}  # rank of a process that died by itself -> its exit code, minus the signal
        self.answers: dict[int, Any] = {}
        self.interrupts = 0  # number of Ctrl-C

    def start(self, member: Member) -> None:
        """Start a process; the first one inherits the lock of the folder."""
        lock = guard.lock_of(self.folder) if member.place.rank == 0 else None
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, f"rank-{member.place.rank}"], stdin=subprocess.PIPE,
            env={**os.environ, **place.environment(member.place)}, pass_fds=() if lock is None else (lock,),
            start_new_session=True,  # a terminal's Ctrl-C reaches it once, through us
        )  # fmt: skip
        self.members.append((member, process))
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it has died already, and its exit code says so
            process.stdin.write(pickle.dumps(sys.path) + pickle.dumps(member))
            process.stdin.flush()

    def watch(self) -> None:
        """Wait until all have ended; GRACE seconds after one has died or failed, the others are killed."""
        deadline: float | None = None
        while len(self.answers) + len(self.lost) < len(self.members):
            time.sleep(PAUSE)
            for rank, (member, process) in enumerate(self.members):
                if rank in self.answers or rank in self.lost or (code := process.poll()) is None:
                    continue
                try:
                    self.answers[rank] = pickle.loads(member.answer.read_bytes())  # of our own child
                except OSError:
                    self.lost[rank] = code
                failed = isinstance(self.answers.get(rank), BaseException)
                if rank in self.lost or (failed and not isinstance(self.answers[rank], Interrupted)):
                    deadline = deadline or time.monotonic() + GRACE
            if deadline and time.monotonic() > deadline:
                return

    def end(self) -> None:
        """Kill those that still live, and wait for all."""
        for _, process in self.members:
            process.kill()  # does nothing to one that has ended
            process.wait()
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.close()

    def caught(self, signum: int, frame: FrameType | None) -> None:
        """Pass a signal on to all processes, which stop at the same place; the third Ctrl-C kills them."""
        self.interrupts += signum == signal.SIGINT
        for _, process in self.members:
            process.send_signal(signal.SIGKILL if self.interrupts > 2 else signum)

    def result(self) -> dict[str, float]:
        """Return what the first process returned. Raises what explains the end best: see run()."""
        if self.lost:
            rank, code = min(self.lost.items())
            saved = checkpoint.numbered(self.folder)
            typed = command("train", f"resume={self.folder}", *trusting(self.members[0][0].config.trust))
            what = f"continue with:\n{typed}" if saved else "start again"
            raise RankLost(f"process {rank + 1} of {len(self.members)} is gone, so all end: {died(code, '')}; {what}")
        errors = [each for _, each in sorted(self.answers.items()) if isinstance(each, BaseException)]
        for error in sorted(errors, key=lambda each: isinstance(each, RankLost)):
            raise error
        found: dict[str, float] = self.answers[0]
        return found
