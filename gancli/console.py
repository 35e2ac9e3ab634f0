"""Output while a run works: log.txt, a progress bar on a terminal, plain lines elsewhere."""

import logging
import sys
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

log = logging.getLogger("gancli")
console = Console(stderr=True)


def setup_logging(file: Path | None = None, *, silent: bool = False) -> None:
    """Send gancli's log to the terminal and, with timestamps, to ``file``; nowhere if ``silent``."""
    for handler in log.handlers[:]:
        log.removeHandler(handler)
        handler.close()
    shown: logging.Handler = logging.StreamHandler(sys.stderr)
    if silent:
        shown = logging.NullHandler()
    elif console.is_terminal:
        shown = _Lines()
    log.addHandler(shown)
    if file is not None:
        kept = _File(file, encoding="utf-8")
        kept.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(kept)
    log.setLevel(logging.INFO)
    log.propagate = False


class _Lines(logging.Handler):
    """Writes above the bar, and as it is: rich would break long lines, pad and colour them, and so spoil commands."""

    def emit(self, record: logging.LogRecord) -> None:
        console.print(self.format(record), soft_wrap=True, highlight=False, markup=False, emoji=False)


class _File(logging.FileHandler):
    """A log file whose disk may be full; that is reported by other writes, which matter more."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Leave out a line that cannot be written, instead of printing a traceback for each."""

    def close(self) -> None:
        with suppress(OSError):
            super().close()


class RunProgress:
    """Progress of a run in images: a bar with rate, time left, losses and last score, or one line per tick.

    Args:
        total: number of images of the whole run.
        images: images already seen.
        shown: whether this process shows it.
        stage: returns the stage after a share of the run; until the last one, the time left is said to be at the
            speed of this stage.
    """

    REDRAW = 0.5  # seconds between updates of the bar

    def __init__(
        self,
        total: int,
        images: int = 0,
        *,
        shown: bool = True,
        stage: Callable[[float], Hashable] = lambda share: None,
    ) -> None:
        self.total, self.text, self.score, self.alarms, self.drawn = total, "", "", "", 0.0
        self.stage = stage
        self.mark = time.monotonic(), images
        self.bar = None
        if console.is_terminal and shown:
            self.bar = Progress(
                TextColumn("{task.completed:,.0f}/{task.total:,.0f} images"), BarColumn(None), TimeRemainingColumn(),
                TextColumn("{task.fields[text]}"), console=console,
            )  # fmt: skip
            self.task = self.bar.add_task("", total=total, completed=images, text="")
            self.bar.start()

    def rate(self, images: int) -> float:
        """Return the training speed since the last call, in images per second."""
        now, (then, before) = time.monotonic(), self.mark
        self.mark = now, images
        return (images - before) / max(now - then, 1e-9)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Exclude the time spent inside, such as an evaluation, from the rate."""
        start = time.monotonic()
        yield
        then, before = self.mark
        self.mark = then + time.monotonic() - start, before

    def step(self, images: int) -> None:
        """Update the bar, at most every REDRAW seconds."""
        if self.bar is not None and time.monotonic() - self.drawn > self.REDRAW:
            self.drawn = time.monotonic()
            self.bar.update(self.task, completed=images)

    def tick(self, images: int, rate: float, means: Mapping[str, float]) -> None:
        """Show the state of the run after a tick."""
        losses = "  ".join(f"{k.removeprefix('loss/')} {v:.3f}" for k, v in means.items() if k.startswith("loss/"))
        later = self.stage(images / self.total) != self.stage(1.0)
        self.text = f"{'at the speed of this stage, ' if later else ''}{rate:,.0f} img/s  {losses}"
        if self.bar is not None:
            self.bar.update(self.task, completed=images, text=self._said())
        elif rate:
            left = time.strftime("%H:%M:%S", time.gmtime(max(self.total - images, 0) / rate))
            log.info("%s", f"{images:,}/{self.total:,} images  {left} left  {self._said()}")

    def scored(self, score: str) -> None:
        """Set the score that is shown."""
        self.score = score
        if self.bar is not None:
            self.bar.update(self.task, text=self._said())

    def alarmed(self, titles: Sequence[str]) -> None:
        """Set the active alarms that are shown."""
        self.alarms = "".join(f"! {title}  " for title in titles)
        if self.bar is not None:
            self.bar.update(self.task, text=self._said())

    def _said(self) -> str:
        return f"{self.alarms}{self.text}  {self.score}".rstrip()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.stop()


@contextmanager
def watched() -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function that shows (what, done, total): a bar on a terminal, a line every ten seconds elsewhere."""
    if console.is_terminal:
        with Progress(console=console) as bar:
            tasks: dict[str, Any] = {}

            def show(what: str, done: int, total: int) -> None:
                task = tasks[what] = tasks[what] if what in tasks else bar.add_task(what, total=total)
                bar.update(task, completed=done)

            yield show
        return
    last = time.monotonic()

    def say(what: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > 10:
            last = time.monotonic()
            log.info("%s: %s of %s", what, f"{done:,}", f"{total:,}")

    yield say
