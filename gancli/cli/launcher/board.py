"""What a sweep shows while its jobs run: a live table on a terminal, plain lines elsewhere."""

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gancli.cli.launcher.pool import Child

if TYPE_CHECKING:  # rich is imported where something is drawn
    from rich.live import Live
    from rich.table import Table

REDRAW = 0.5  # seconds between drawings of the table


class Lines:
    """Passes on what the jobs say, each line after the name of its job.

    Args:
        total: number of jobs.
    """

    def __init__(self, total: int) -> None:
        self.total, self.states = total, Counter[str]()

    def begun(self, child: Child) -> None:
        """A job was started."""

    def said(self, child: Child, line: str) -> None:
        """A job wrote a line."""
        print(f"{child.name}: {line}", file=sys.stderr, flush=True)

    def ended(self, child: Child, state: str, error: str | None, note: str = "") -> None:
        """A job ended; the note says what it gave."""
        self.states[state] += 1
        why = f": {error}; its output: {child.output}" if error and state == "failed" else note and f": {note}"
        print(f"gancli: {child.name}: {state}{why} ({self.told()})", file=sys.stderr, flush=True)

    def passed(self) -> None:
        """A job need not be run, or has wrong settings; it was said."""
        self.total -= 1

    def look(self, running: Sequence[Child]) -> None:
        """The jobs are still running."""

    def told(self) -> str:
        """Return how far the sweep is."""
        others = [f"{self.states[state]} {state}" for state in ("pruned", "failed") if self.states[state]]
        return ", ".join([f"{self.states['done']} of {self.total} done", *others])


class Drawn(Lines):
    """A table of the jobs that run, with their last lines, below what is said of those that ended."""

    def __init__(self, total: int, live: "Live") -> None:
        super().__init__(total)
        self.live, self.drawn = live, 0.0

    def said(self, child: Child, line: str) -> None:
        """A job wrote a line, which the table shows."""

    def look(self, running: Sequence[Child]) -> None:
        """Draw the table, at most every REDRAW seconds."""
        if time.monotonic() - self.drawn < REDRAW and running:
            return
        self.drawn = time.monotonic()
        self.live.update(table(running, self.told(), self.drawn), refresh=True)


def table(running: Sequence[Child], told: str, now: float) -> "Table":
    """Return a table with a line per running job: its name, its time, and what it said last."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, expand=True, caption=told, caption_justify="left")
    drawn.add_column("job", no_wrap=True, min_width=max((len(child.name) for child in running), default=1))
    drawn.add_column("time", no_wrap=True, min_width=len("time") + 2)
    drawn.add_column("", no_wrap=True, overflow="ellipsis", ratio=1)
    for child in sorted(running, key=lambda each: each.slot):
        spent = int(now - child.started)
        drawn.add_row(Text(child.name), f"{spent // 60}:{spent % 60:02}", Text(child.line))
    return drawn


@contextmanager
def board(total: int) -> Iterator[Lines]:
    """Yield what shows the jobs of a sweep on this terminal, or in this file."""
    from gancli.console import console

    if not console.is_terminal:
        yield Lines(total)
        return
    from rich.live import Live

    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield Drawn(total, live)
