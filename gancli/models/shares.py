"""Drawing the batches of one generator in several processes, each of which computes its own.

A batch has the numbers that it has in a single process: the others' batches are passed over, by drawing their random
numbers and computing nothing (`Model.skip`).
"""

import logging
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Generator, Tensor

from gancli.models.base import Model

log = logging.getLogger("gancli")
T = TypeVar("T")


class Crew(NamedTuple):
    """Processes that draw together.

    Args:
        rank: number of this one; 0 gets what all have drawn.
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


ALONE = Crew()


class Share(NamedTuple):
    """The batches that one of several processes draws, see Crew."""

    rank: int = 0
    world: int = 1
    run: int = 1

    def has(self, batch: int) -> bool:
        """Tell whether it draws a batch, by its number."""
        return batch // self.run % self.world == self.rank


class Passing:
    """Passes over batches of a model: by skip(), unless the first batch shows that sample() draws otherwise."""

    def __init__(self, model: Model) -> None:
        self.model, self.skips = model, True

    def compared(self, n: int, label: Tensor | None, generator: Generator) -> Tensor:
        """Sample the first batch, and compare the state that it leaves with that of skip()."""
        other = Generator(generator.device)
        other.set_state(generator.get_state())
        images = self.model.sample(n, label=label, generator=generator)
        self.model.skip(n, label=label, generator=other)
        self.skips = torch.equal(other.get_state(), generator.get_state())
        if not self.skips:
            log.warning(
                "%s.skip() does not draw what sample() does: every process draws all", type(self.model).__name__
            )
        return images

    def over(self, n: int, label: Tensor | None, generator: Generator) -> None:
        """Draw the random numbers of a batch."""
        (self.model.skip if self.skips else self.model.sample)(n, label=label, generator=generator)
