"""``batch_size=auto``: the batch of the recipe, in the fewest parts that fit into the memory of a GPU."""

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import NamedTuple

import torch

from gancli.errors import UsageError, counted
from gancli.training.graphs import WARM
from gancli.training.run import Run
from gancli.training.tracker import Tracker
from gancli.training.turn import run_turn

AUTO = "auto"
SHARE = 0.9  # of the free memory that may be used: allocators need room, and evaluations come beside the training


class Peak(NamedTuple):
    """What one turn of a run has needed."""

    used: float  # bytes at most; infinite if there was not enough
    free: int  # bytes that there were before the run was built


Probe = Callable[[int], Peak | None]  # of a number of parts; None: the device has no memory of its own


def parts(batch_size: int, probe: Probe) -> tuple[int, str]:
    """Return the smallest number of equal parts of a batch that fits, and a line for the log.

    The batch of an update stays the recipe's. On a CPU, whose memory no allocator counts, there is one part.

    Args:
        batch_size: images per update.
        probe: measures a turn with so many parts.

    Raises:
        UsageError: not even single images fit.
    """
    for number in (n for n in range(1, batch_size + 1) if batch_size % n == 0):
        found = probe(number)
        if found is None:
            return 1, f"batch_size=auto: {counted(batch_size, 'image')}, as in the recipe, since this is no GPU"
        if found.used <= SHARE * found.free:
            of = "at once" if number == 1 else f"in {number} parts"
            return number, (
                f"batch_size=auto: {counted(batch_size, 'image')} {of}; a turn takes {found.used / 2**30:.2f} of "
                f"{found.free / 2**30:.2f} GiB"
            )
    raise UsageError("batch_size=auto: not even one image at a time fits; use a smaller model or data.size")


def probing(build: Callable[[int], Run], device: torch.device, tracker: Callable[[], Tracker]) -> Probe:
    """Return the probe that does a turn of a throwaway run at the end of its clock, where models have grown.

    It has not run on a GPU yet.

    Args:
        build: makes the run with so many parts; its seeds are set anew by the next one.
        device: of the run.
        tracker: makes one that writes nothing.
    """

    def probe(number: int) -> Peak | None:
        if device.type != "cuda":
            return None
        with _released():
            free = torch.cuda.mem_get_info(device)[0]
        torch.cuda.reset_peak_memory_stats(device)
        with _released():
            used = _used(partial(build, number), device, tracker)
        return Peak(used, free)

    return probe


def _used(build: Callable[[], Run], device: torch.device, tracker: Callable[[], Tracker]) -> float:
    """Return the bytes that a turn needs, or as many turns as it takes until one is recorded; infinite: too many.

    It is a function of its own, so that nothing holds the run any more when its memory is given back.
    """
    with ExitStack() as stack:
        try:
            run = build()
            stack.callback(run.loader.close)
            run.enter(1.0, reset=False)
            for _ in range(WARM + 1 if run.graphs else 1) if run.steps else ():
                run_turn(run, tracker(), measure=True)
            torch.cuda.synchronize(device)
        except torch.cuda.OutOfMemoryError:
            return float("inf")
    return float(torch.cuda.max_memory_reserved(device))


@contextmanager
def _released() -> Iterator[None]:
    """Give unused memory of the GPU back, before and after."""
    for moment in ("before", "after"):
        gc.collect()
        torch.cuda.empty_cache()
        if moment == "before":
            yield
