"""Turns as CUDA graphs: what a turn launches is recorded once and then launched as a whole.

A small network's turn is some hundred kernels of a few microseconds, and Python needs longer to launch each than the
GPU to run it. A graph holds all of them: batch, phases, moving average (torch.cuda.CUDAGraph; the rules are those of
"Whole-network capture" in PyTorch's notes on CUDA semantics). It reads the same memory at every replay, so what the
host decides anew for each turn is written there first: rows of the batch, share of the run, learning rates, weight of
the moving average. What cannot be written into memory, such as the terms that are due, makes a graph of its own.
"""

import logging
from collections import Counter
from collections.abc import Hashable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gancli.data.loader import Drawn
from gancli.nn.recorded import CudaGraph, Graph, reason
from gancli.training.run import Run
from gancli.training.turn import Turn, compute

log = logging.getLogger("gancli")

Scalars = list[dict[str, Tensor]]
WARM = 3  # turns of a kind that are done step by step: they allocate what lasts, and choose algorithms
MOST = 8  # kinds of turns; each graph keeps its own results


class Graphs:
    """Does the turns of a run: the first WARM of a kind step by step, later ones as a graph.

    Turns of another kind have graphs of their own: those with other due terms (lazy penalties), another number of
    updates, gradient norms to measure, or other numbers of the optimizers than the learning rate. Turns whose kind is
    always new, as with a momentum that rises all the time, are done step by step, and so are all kinds beyond MOST, and
    the whole run where recording fails; the log says so. When the model enters a stage, its networks and the state of
    its optimizers may be others, and all graphs are made anew.

    Args:
        run: the run, its state restored: what a graph uses must not be replaced afterwards.
        make: the class of its graphs.
    """

    def __init__(self, run: Run, make: type[Graph] = CudaGraph) -> None:
        self.run, self.make = run, make
        self.stage: Hashable = run.stage
        self.seen: Counter[Hashable] = Counter()  # turns of the kinds that have no graph
        self.kept: dict[Hashable, Captured] = {}
        self.failed = False
        self.reasons: list[str] = []  # why turns are done step by step

    def __call__(self, turn: Turn, *, measure: bool) -> Scalars:
        """Do a turn, whose clocks have moved, and return the scalars of each update, on the device."""
        if self.run.stage != self.stage:
            self.stage = self.run.stage
            self.seen.clear()
            self.kept.clear()
        kind = self._kind(turn, measure)
        if kind not in self.kept and not self._captured(kind, turn, measure):
            return self.make.warm(partial(compute, self.run, turn, measure=measure))
        return self.kept[kind].replay(turn)

    def _captured(self, kind: Hashable, turn: Turn, measure: bool) -> bool:
        """Record a turn if it is time for its kind, and tell whether it was recorded."""
        self.seen[kind] += 1
        if self.failed or self.seen[kind] <= WARM:
            if len(self.seen) > 4 * MOST:
                self.seen.clear()
                self._say("most turns differ in the numbers of their optimizers, which a graph would repeat")
            return False
        if len(self.kept) == MOST:
            self._say(f"there are graphs of {MOST} other kinds of turns")
            return False
        try:
            self.kept[kind] = Captured(self.run, turn, measure, self.make(self.run.loader.generators()))
        except RuntimeError as error:  # torch raises it for whatever it cannot record
            self.failed = True
            self.kept.clear()
            self._say(reason(error))
        return not self.failed

    def _kind(self, turn: Turn, measure: bool) -> Hashable:
        """Return what a graph cannot be told by writing into its memory."""
        ahead: Counter[int] = Counter()
        updates = []
        for step, index in turn.updates:
            updates.append((id(step), index, step.are_due(step.updates + ahead[id(step)])))
            ahead[id(step)] += 1
        numbers = [
            tuple((key, _frozen(value)) for key, value in group.items() if key not in ("params", "lr"))
            for step in self.run.steps
            for group in step.optimizer.param_groups
        ]
        return tuple(updates), measure, turn.weight is None, tuple(numbers)

    def _say(self, reason: str) -> None:
        if reason not in self.reasons:
            self.reasons.append(reason)
            log.warning("runtime.graphs: turns are done step by step, as %s", reason)


class Captured:
    """A recorded turn, and the memory that it reads and writes.

    Args:
        run: of which it is a turn.
        turn: the turn to record; it is not done yet.
        measure: see Step.compute().
        graph: records it.

    Raises:
        RuntimeError: an operation cannot be recorded.
    """

    def __init__(self, run: Run, turn: Turn, measure: bool, graph: Graph) -> None:
        self.run, self.graph = run, graph
        self.drawn = [_copied(each) for each in turn.drawn]
        number = lambda value: torch.full((), value, dtype=torch.float32, device=run.runtime.device)  # noqa: E731
        self.weight = None if turn.weight is None else number(turn.weight)
        self.rates = [(group, number(group["lr"])) for step in run.steps for group in step.optimizer.param_groups]
        self.written = [group["lr"] for group, _ in self.rates]
        self.updates = Counter(step for step, _ in turn.updates)
        nets = (run.model, run.ema.model)
        self.changed = list({id(each): each for net in nets for each in (*net.parameters(), *net.buffers())}.values())
        before = {step: step.updates for step in self.updates}
        own = Turn(self.drawn, turn.updates, turn.weight)
        try:
            for group, rate in self.rates:
                group["lr"] = rate
            work = partial(compute, run, own, measure=measure, weight=self.weight)
            self.keys, self.values = graph.capture(lambda: _packed(work()))
        finally:
            for (group, _), rate in zip(self.rates, self.written):
                group["lr"] = rate
            for step, count in before.items():
                step.updates = count

    def replay(self, turn: Turn) -> Scalars:
        """Do a turn of the recorded kind, and return the scalars of each update, in memory of their own."""
        for own, given in zip(self.drawn, turn.drawn):
            _fill(own, given)
        for i, (group, rate) in enumerate(self.rates):
            if group["lr"] != self.written[i]:
                self.written[i] = group["lr"]
                rate.fill_(group["lr"])
        if self.weight is not None and turn.weight is not None:
            self.weight.fill_(turn.weight)
        self.graph.replay()
        torch.autograd.graph.increment_version(self.changed)  # by which caches, as of mean styles, know to look again
        for step, count in self.updates.items():
            step.updates += count
        values = iter(self.values.clone().unbind())
        return [{key: next(values) for key in keys} for keys in self.keys]


def _packed(scalars: Scalars) -> tuple[list[list[str]], Tensor]:
    """Return the keys of each update, and all their values in one tensor, which a replay overwrites."""
    return [list(each) for each in scalars], torch.stack([x.float() for each in scalars for x in each.values()])


def _leaves(drawn: Any) -> list[Tensor]:
    """Return the tensors in a choice of a batch, in their order."""
    if isinstance(drawn, Tensor):
        return [drawn]
    return [] if drawn is None else [leaf for part in drawn for leaf in _leaves(part)]


def _copied(drawn: Any) -> Any:
    """Return the same choice of a batch in memory of its own."""
    if isinstance(drawn, Tensor):
        return drawn.clone()
    if drawn is None:
        return None
    parts = [_copied(part) for part in drawn]
    return Drawn(*parts) if isinstance(drawn, Drawn) else tuple(parts)


def _fill(own: Drawn, given: Drawn) -> None:
    for target, source in zip(_leaves(own), _leaves(given)):
        target.copy_(source, non_blocking=True)


def _frozen(value: Any) -> Hashable:
    return tuple(value) if isinstance(value, list) else value
