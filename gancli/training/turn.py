"""A turn: the updates of every phase that are due, on the same or on fresh batches, and the moving average."""

from dataclasses import dataclass

from torch import Tensor

from gancli.data.loader import Drawn
from gancli.losses.base import Moment
from gancli.training.run import Run
from gancli.training.step import Step
from gancli.training.tracker import Tracker


@dataclass(frozen=True)
class Turn:
    """What a turn does, as the host decides it, before the device does any of it."""

    drawn: list[Drawn]  # the batches that it takes from the loader
    updates: list[tuple[Step, int]]  # in order, each with the index of its batch
    weight: float | None  # of the trained networks in their moving average; None: it does not change


def run_turn(run: Run, tracker: Tracker, *, measure: bool) -> None:
    """Do the updates of every phase that are due in this turn, without waiting for the device.

    Raises:
        RuntimeError: no phase has an update, so the run would never end.
    """
    turn = prepare(run)
    for scalars in run.graphs(turn, measure=measure) if run.graphs else compute(run, turn, measure=measure):
        tracker.add(scalars)
    run.enter(run.share, reset=run.model.resets)


def prepare(run: Run) -> Turn:
    """Decide on the next turn, set its rates and move the clocks: the host part.

    All phases share the first batch; further updates of a phase (n_critic) get batches of their own.

    Raises:
        RuntimeError: no phase has an update.
    """
    rates, moment = run.schedule(run.images, run.total), Moment(run.turn, run.share)
    drawn: list[Drawn] = []
    updates: list[tuple[Step, int]] = []
    averaged = 0
    for step in run.steps:
        number = step.phase.updates(moment)
        for i in range(number):
            if not drawn or i:
                drawn.append(run.loader.prepare(run.images / run.total))
            updates.append((step, len(drawn) - 1))
        if number:
            step.set_rates(moment.share, rates)
        if set(step.phase.networks) & set(run.model.sampled):
            averaged = max(averaged, number * run.loader.batch_size)
    if not drawn:
        raise RuntimeError(f"no phase of {type(run.loss).__name__} has an update in turn {run.turn}")
    run.images += len(drawn) * run.loader.batch_size
    run.turn += 1
    return Turn(drawn, updates, run.ema.prepare(averaged, run.share))


def compute(run: Run, turn: Turn, *, measure: bool, weight: Tensor | None = None) -> list[dict[str, Tensor]]:
    """Do a turn and return the scalars of each update, on the device: the device part.

    Args:
        run: whose networks and optimizers change; its clocks have moved.
        turn: what to do.
        measure: see Step.compute().
        weight: a 0-dim tensor that holds ``turn.weight`` in its place.
    """
    found, made, batch = [], -1, None
    for step, index in turn.updates:
        if index != made:
            batch, made = run.model.present(run.loader.compute(turn.drawn[index])), index
        assert batch is not None, "batches are counted from 0"
        step.begin()
        found.append(step.compute(batch, measure=measure))
    if turn.weight is not None:
        run.ema.compute(turn.weight if weight is None else weight)
    return found
