"""Processes that train together: joining them, what they tell each other besides gradients, and what that costs.

gancli train runtime.gpus=2
torchrun --nproc-per-node=2 -m gancli train
"""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed

from gancli.errors import RankLost
from gancli.models.shares import Crew
from gancli.nn.ranks import sum_
from gancli.training.place import Group
from gancli.training.stopping import Stopped, StopSignal

PATIENCE = timedelta(days=2)  # that a process waits for another, which may evaluate; one that died is noticed at once
SECONDS = 0.5  # between two questions whether a signal has arrived anywhere


_group = Group()


def group() -> Group:
    """Return the place of this process; that of one on its own before join()."""
    return _group


def join(place: Group, where: str = "env://") -> None:
    """Meet the other processes; idempotent.

    Tensors of a GPU travel by NCCL, those of the CPU, and all that is no tensor, by gloo.

    Args:
        place: of this process.
        where: they meet, as torch.distributed.init_process_group() reads it.

    Raises:
        RankLost: they cannot be reached.
    """
    global _group
    if _group.world > 1 or place.world == 1:
        return
    cuda = torch.cuda.is_available() and torch.distributed.is_nccl_available()
    try:
        torch.distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if cuda else "gloo", init_method=where, rank=place.rank, world_size=place.world,
            timeout=PATIENCE,
        )  # fmt: skip
    except RuntimeError as error:
        raise RankLost.told(error) from error
    _group = place


def leave() -> None:
    """Part from the others, at the end of the process."""
    global _group
    if _group.world > 1:
        _group = Group()
        torch.distributed.destroy_process_group()


def gathered(value: Any) -> list[Any]:
    """Return the values of all processes in the first one, by rank, and an empty list in the others.

    Raises:
        RankLost: another process has ended.
    """
    found = [None] * _group.world if _group.rank == 0 else None
    if _group.world == 1:
        return [value]
    try:
        torch.distributed.gather_object(value, found)
    except RuntimeError as error:
        raise RankLost.told(error) from error
    return found or []


def crew() -> Crew:
    """Return the processes as those that compute the batches of a stream together, and stop together during it."""
    return Crew(_group.rank, _group.world, _gathered_unless_stopped)


def _gathered_unless_stopped(value: Any) -> list[Any]:
    """Return gathered(), after all have asked each other whether one was told to stop.

    Raises:
        RankLost: another process has ended.
        Stopped: one was; all raise it in the same turn.
    """
    stop = StopSignal.active  # of a training, which can be stopped and go on; all processes have one or none has
    if stop is None:
        return gathered(value)
    with stop.held():
        if signum := agree(stop.signum):
            raise Stopped(signum)
        return gathered(value)


def agree(signum: int) -> int:
    """Return the signal that has reached any process, or 0; called by all of them, each where it is.

    Raises:
        RankLost: another process has ended.
    """
    return signum if _group.world == 1 else highest(signum)[0]


def told() -> int:
    """Return the signal that stopped this process, and tell it the others, where they next call agree()."""
    return agree(StopSignal.active.signum if StopSignal.active else 0)


def agreed(value: Any) -> Any:
    """Return the value of the first process in all of them.

    Raises:
        RankLost: another process has ended.
    """
    if _group.world == 1:
        return value
    found = [value]
    try:
        torch.distributed.broadcast_object_list(found)
    except RuntimeError as error:
        raise RankLost.told(error) from error
    return found[0]


def highest(*values: int) -> list[int]:
    """Return the largest value of all processes for each of some numbers; no GPU is waited for.

    Raises:
        RankLost: another process has ended.
    """
    if _group.world == 1:
        return list(values)
    found = torch.tensor(values)
    sum_(found, most=True)
    return found.tolist()


@contextmanager
def first_goes_first() -> Iterator[None]:
    """Let the first process do what is inside before the others: it fills caches that the others read."""
    if _group.rank:
        agreed(None)
    yield
    if not _group.rank:
        agreed(None)


class Signals:
    """Makes all processes stop in the same turn, although a signal reaches each at a moment of its own.

    They ask each other every half second, in the turn on which they have agreed before. One process never asks.
    """

    def __init__(self) -> None:
        self.due = self.turn = 0
        self.mark = time.monotonic()

    def __call__(self, signum: int, turn: int) -> int:
        """Return the signal at which all stop in this turn, or 0.

        Args:
            signum: that has reached this process, or 0.
            turn: number of turns done.
        """
        if _group.world == 1:
            return signum
        if turn < self.due:
            return 0
        now = time.monotonic()
        turns, spent = turn - self.turn, now - self.mark
        signum, wait = highest(signum, max(1, int(turns * SECONDS / max(spent, 1e-9))) if turns else 1)
        self.due, self.turn, self.mark = turn + wait, turn, now
        return signum


class Meter:
    """Measures the time that means of gradients take, which includes waiting for slower processes.

    Args:
        device: where they are computed. On a GPU the time is that between two events, read where a tick waits anyway.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.begun = device, time.monotonic()
        self.seconds, self.bytes, self.messages = 0.0, 0, 0
        self.events: deque[tuple[torch.cuda.Event, torch.cuda.Event]] = deque()  # not added to the seconds yet

    @contextmanager
    def measured(self, flat: torch.Tensor) -> Iterator[None]:
        """Measure what is inside, which sends a tensor."""
        self.bytes += flat.numel() * flat.element_size()
        self.messages += 1
        if self.device.type == "cuda":
            events = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            events[0].record()
            yield
            events[1].record()
            self.events.append(events)
            while self.events[0][1].query() and len(self.events) > 1:  # without a tick they would pile up
                self._add()
            return
        start = time.monotonic()
        yield
        self.seconds += time.monotonic() - start

    def read(self) -> dict[str, float]:
        """Return the share of the time since the last call, and MB per message; empty if nothing was sent."""
        now = time.monotonic()
        while self.events:
            self._add()
        share = self.seconds / max(now - self.begun, 1e-9)
        found = {"runtime/all_reduce": share, "runtime/all_reduce_mb": self.bytes / max(self.messages, 1) / 1e6}
        sent, self.begun = self.messages, now
        self.seconds, self.bytes, self.messages = 0.0, 0, 0
        return found if sent else {}

    def _add(self) -> None:
        start, end = self.events.popleft()
        self.seconds += start.elapsed_time(end) / 1000
