"""The batches of one stream in several processes, each of which computes its own: samples, likelihoods, translations.

A batch has the numbers that it has in a single process: the others' batches are passed over, by drawing their random
numbers and computing nothing (`Model.skip`, `Answer.skip`, `Translation.skip_translation`).
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Generator

log = logging.getLogger("gancli")
T = TypeVar("T")


class Crew(NamedTuple):
    """Processes that compute the batches of one stream together.

    Args:
        rank: number of this one; 0 gets what all have computed.
        world: number of them.
        gathered: returns the values of all of them, by rank, in the first one, and an empty list in the others.
    """

    rank: int = 0
    world: int = 1
    gathered: Callable[[Any], list[Any]] = lambda value: [value]

    def share(self, run: int = 1) -> "Share | None":
        """Return the batches of this process, ``run`` in a row at a time; None: there is no other."""
        return Share(self.rank, self.world, run) if self.world > 1 else None

    def in_turns(self, own: Iterator[T], number: int) -> Iterator[T]:
        """Yield what all processes yield, in turns, in the first one; in the others, nothing, but read it they must.

        Args:
            own: what this process yields.
            number: of all that is yielded.

        Raises:
            RankLost: another process has ended.
        """
        for _ in range(-(-number // self.world)):
            yield from (each for each in self.gathered(next(own, None)) if each is not None)

    def merged(self, own: Mapping[int, T]) -> dict[int, T]:
        """Return what all processes have, by number and in that order, in the first one; in the others, nothing.

        Raises:
            RankLost: another process has ended.
        """
        found = {number: each for part in self.gathered(dict(own)) for number, each in part.items()}
        return {number: found[number] for number in sorted(found)}


ALONE = Crew()


class Share(NamedTuple):
    """The batches that one of several processes computes, see Crew."""

    rank: int = 0
    world: int = 1
    run: int = 1

    def has(self, batch: int) -> bool:
        """Tell whether it computes a batch, by its number."""
        return batch // self.run % self.world == self.rank


class Passing(Generic[T]):
    """Computes the batches of a share one after another, and passes over the others by their random numbers alone.

    On the first batch, the state in which ``skips`` leaves the generators is compared with that of ``does``; if they
    differ, every process computes all batches, so that the numbers are right in any case.

    Args:
        does: computes a batch.
        skips: called with the same arguments, draws what ``does`` draws.
        generators: from which both draw; none: they draw nothing, and nothing is compared.
        share: the batches that are computed; None: all.
        name: of ``does``, for a warning.
    """

    def __init__(
        self, does: Callable[..., T], skips: Callable[..., Any], generators: Sequence[Generator], share: Share | None,
        name: str,
    ) -> None:  # fmt: skip
        self.does, self.skips, self.generators, self.share, self.name = does, skips, generators, share, name
        self.numbers = count()

    def __call__(self, *args: Any) -> T | None:
        """Return the next batch, or None if it belongs to another process."""
        number = next(self.numbers)
        own = self.share is None or self.share.has(number)
        if self.share is not None and self.generators and number == 0:
            found = self._compared(*args)
        else:
            found = (self.does if own else self.skips)(*args)
        return found if own else None

    def _compared(self, *args: Any) -> T:
        before = [each.get_state() for each in self.generators]
        self.skips(*args)
        skipped = [each.get_state() for each in self.generators]
        for generator, state in zip(self.generators, before):
            generator.set_state(state)
        found = self.does(*args)
        if not all(torch.equal(each.get_state(), state) for each, state in zip(self.generators, skipped)):
            log.warning("what passes over %s does not draw what it draws: every process computes all", self.name)
            self.skips = self.does
        return found
