"""Signals that ask a run to stop: after its step, or at once where what is half done can be done again."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import ClassVar

from gancli.training.guard import asking, handling

log = logging.getLogger("gancli")


class Stopped(BaseException):
    """A signal asks to stop what can be done again later, see interruptible().

    Args:
        agreed: the signal, if all processes that train together know it by now.
    """

    def __init__(self, agreed: int = 0) -> None:
        super().__init__(agreed)
        self.agreed = agreed


class StopSignal:
    """Catch a signal that asks to stop, so that the step can be finished and saved; a second Ctrl-C exits at once.

    Clusters send a warning before SIGTERM, and both a terminal and its shell send SIGHUP: what follows changes nothing.
    """

    active: ClassVar["StopSignal | None"] = None  # the one that catches the signals of this process

    def __init__(self) -> None:
        self.signum = 0  # 0 until a signal arrives
        self.interrupts = False  # whether a signal ends what is done now

    def __enter__(self) -> "StopSignal":
        self.handling = handling(asking(), self._caught)
        self.handling.__enter__()
        StopSignal.active = self
        return self

    def _caught(self, signum: int, frame: FrameType | None) -> None:
        if self.signum and signum == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.signum:
            self.signum = signum
            what = "what is half done is left for later" if self.interrupts else "after this step"
            log.info("stopping, %s; press Ctrl-C again to exit at once", what)
            if self.interrupts:
                self.interrupts = False
                raise Stopped

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let no signal interrupt what is inside, messages between processes; after an error, nothing any more."""
        before, self.interrupts = self.interrupts, False
        yield
        self.interrupts = before

    def __exit__(self, *exc: object) -> None:
        StopSignal.active = None
        self.handling.__exit__(None, None, None)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let a signal that asks to stop end what is inside at once: an evaluation, pictures, an examination.

    It can be done again, as it changes nothing of the run and writes whole files only. Contexts that restore something
    of the run must be around this one, so that they are not interrupted. Without a StopSignal it does nothing.

    Raises:
        Stopped: a signal arrives inside, or has arrived before.
    """
    stop = StopSignal.active
    if stop is None:
        yield
        return
    if stop.signum:
        raise Stopped
    stop.interrupts = True
    try:
        yield
    finally:
        stop.interrupts = False
