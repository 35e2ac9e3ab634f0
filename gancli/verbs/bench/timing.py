"""Where the time of a turn goes, and how fast several ways to train are beside each other.

On a GPU the host is ahead of the device, so a clock is read after the device has done what it was given. Between the
phases that costs the overlap of the two: times per phase are of turns of their own, and not those of images/s.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, cast

from gancli.training.run import Run
from gancli.training.tracker import Tracker
from gancli.training.turn import run_turn

Clock = Callable[[], float]  # seconds since some moment
Wait = Callable[[], None]  # until the device has done what it was given
Watch = Callable[[str], AbstractContextManager]  # what surrounds a phase, by its name
QUEUE = 20  # turns after which the device is waited for, else the queue of its launches would outlast a round
DATA, AVERAGE, SCALARS, REST = "data", "ema", "scalars", "rest"  # what a turn does besides the updates of its phases


class Part:
    """A part of a run, some of whose methods are surrounded by a watch.

    Args:
        part: whose attributes it has.
        names: the methods, and the name of the phase that each belongs to.
        watch: makes the context of a phase.
    """

    def __init__(self, part: Any, names: Mapping[str, str], watch: Watch) -> None:
        self._part, self._names, self._watch = part, names, watch

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._part, name)
        if name not in self._names:
            return value

        def watched(*args: Any, **kwargs: Any) -> Any:
            with self._watch(self._names[name]):
                return value(*args, **kwargs)

        return watched


class Laps:
    """A stopwatch that adds up the seconds of each phase. Phases do not overlap."""

    def __init__(self, wait: Wait, clock: Clock) -> None:
        self.wait, self.clock = wait, clock
        self.seconds: dict[str, float] = defaultdict(float)

    def now(self) -> float:
        """Return the time, once the device has done its work."""
        self.wait()
        return self.clock()

    @contextmanager
    def lap(self, name: str) -> Iterator[None]:
        """Add the time spent inside to a phase."""
        start = self.now()
        yield
        self.seconds[name] += self.now() - start


def watched(run: Run, tracker: Tracker, watch: Watch) -> tuple[Run, Tracker]:
    """Return a run and a tracker that share the parts of the given ones, with a watch around every phase.

    The new run has a clock of its own, which begins at the images seen so far, and no graphs, which have no phases.
    """
    both = ("prepare", "compute")  # the host's part and the device's
    steps = [Part(step, dict.fromkeys(("set_rates", "begin", "compute"), step.phase.name), watch) for step in run.steps]
    parts: dict[str, Any] = {
        "loader": Part(run.loader, dict.fromkeys(both, DATA), watch),
        "ema": Part(run.ema, dict.fromkeys(both, AVERAGE), watch), "steps": steps, "graphs": None,
    }  # fmt: skip
    return replace(run, **parts), cast("Tracker", Part(tracker, {"add": SCALARS}, watch))


def phases(
    run: Run, tracker: Tracker, cycle: int, seconds: float, clock: Clock = time.perf_counter
) -> dict[str, float]:
    """Return the seconds of each phase of a turn, a mean over turns; their sum is that of a whole turn.

    Args:
        run: what is trained.
        tracker: takes its scalars.
        cycle: number of turns after which the same terms are due again; whole cycles are measured.
        seconds: the least time to measure for.
        clock: tells the time.
    """
    laps, turns = Laps(run.runtime.wait, clock), 0
    run, tracker = watched(run, tracker, laps.lap)
    start = now = laps.now()
    while turns == 0 or turns % cycle or now - start < seconds:
        run_turn(run, tracker, measure=False)
        turns, now = turns + 1, laps.now()
    total, known = now - start, dict(laps.seconds)
    known[SCALARS] = known.pop(SCALARS)  # after all phases, in the order of the table
    known[REST] = total - sum(known.values())  # schedules, stages, the loop itself
    return {name: each / turns for name, each in known.items()}


def interleaved(
    ways: Mapping[str, Callable[[], int]],
    *,
    rounds: int,
    seconds: float,
    wait: Wait,
    clock: Clock = time.perf_counter,
) -> dict[str, list[float]]:
    """Return the images per second of several ways to train in every round.

    In each round all ways take their turn, so that a busy machine slows all of them alike: what counts is the ratio
    of two ways in the same round.

    Args:
        ways: functions that train for one step and return the number of images seen, by name.
        rounds: number of rounds.
        seconds: the least time of each way in a round.
        wait: waits for the device.
        clock: tells the time.
    """
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, step in ways.items():
            wait()
            start, images, steps = clock(), 0, 0
            while steps == 0 or clock() - start < seconds:
                images, steps = images + step(), steps + 1
                if steps % QUEUE == 0:
                    wait()
            wait()
            found[name].append(images / max(clock() - start, 1e-9))
    return found
