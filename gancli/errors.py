"""The errors that are reported to the user, suggestions for misspelt words, and commands to copy."""

from collections.abc import Iterable
from difflib import get_close_matches
from shlex import join


class UsageError(Exception):
    """An error the user can fix, with a one-line message: what is wrong, what is allowed, what to do. Exit code 2."""


class TrainingDiverged(Exception):
    """A loss or a weight is no longer finite; the message names phase, term and images seen. Exit code 3."""

    @classmethod
    def at(cls, images: int, what: str) -> "TrainingDiverged":
        """Return it for what is not finite, such as ``fake of discriminator is``, after so many images."""
        tip = "try a smaller optimizer.lr, clip=1 or runtime.precision=fp32"
        return cls(f"{what} not finite at {images:,} images; {tip}")


class RankLost(Exception):
    """One of several processes that train together has ended without a word, and with it all others. Exit code 1."""

    @classmethod
    def told(cls, error: BaseException) -> "RankLost":
        """Return it for the error by which another process notices."""
        reason = (str(error).splitlines() or [type(error).__name__])[0].partition(". ")[0]
        return cls(f"another of the processes that train together has ended, or cannot be reached ({reason})")


class Interrupted(Exception):
    """A signal ended the run after its step was finished and saved. Exit code 128 + signal."""

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message)
        self.signum = signum

    def __reduce__(self) -> tuple[type, tuple[int, str]]:  # it is sent from process to process
        return type(self), (self.signum, str(self))


class Terminated(KeyboardInterrupt):
    """A signal other than Ctrl-C's asks to stop while there is nothing to finish and save. Exit code 128 + signal."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by signal {signum}")
        self.signum = signum

    def __reduce__(self) -> tuple[type, tuple[int]]:
        return type(self), (self.signum,)


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest allowed word, or ``""`` when none is close.

    Capitals do not count, and a name that stands at the end of a path, ``lecture`` of ``experiment/lecture``, is it.
    """
    known = {each.lower(): each for each in allowed}
    ends = [each for each in known if each.rpartition("/")[2] == word.lower()]
    close = ends[:1] or get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return f"; did you mean {known[close[0]]!r}?" if close else ""


def command(*words: object) -> str:
    """Return ``gancli <words>`` as a shell reads it, also for paths with blanks or brackets: ``'ckpt=my runs/[1]'``."""
    return join(["gancli", *map(str, words)])


def trusting(packages: Iterable[str]) -> tuple[str, ...]:
    """Return the word that a command needs if classes of other packages are in a run; none without such packages."""
    return (f"trust=[{','.join(packages)}]",) if packages else ()


def sized(size: float) -> str:
    """Return a number of bytes in the unit that suits it: ``3.2 GiB``, ``640.0 KiB``, ``12 bytes``."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= scale:
            return f"{size / scale:,.1f} {unit}"
    return f"{size:.0f} bytes"


def counted(number: int, noun: str, several: str = "") -> str:
    """Return ``1 job`` or ``1,200 jobs``; ``several`` is a plural that does not end in s alone."""
    return f"{number:,} {noun if number == 1 else several or f'{noun}s'}"
