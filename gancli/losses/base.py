"""The building blocks of losses: terms (functions that return named scalars) and phases (one optimizer update each)."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from gancli.data.spec import Batch
from gancli.models.base import Model


class Term(NamedTuple):
    """A pure function that returns named scalars, and the unit of ``torch.compile``.

    Scalars with a gradient are summed and minimised; detached ones are only logged.
    """

    fn: Callable[[Any, Batch], dict[str, Tensor]]  # takes a model of the loss's family and a batch
    interval: int = 1  # computed every ``interval`` updates of its phase and scaled by it (lazy regularisation)
    second_order: bool = False  # differentiates through a gradient, so it runs in eager mode and float32
    eager: bool = False  # takes a gradient for its value, so it is not compiled


class Moment(NamedTuple):
    """The progress of a run, which the number of updates of a phase may depend on."""

    turn: int  # turns done so far; in each turn every phase does its updates
    share: float  # completed share of the run, in [0, 1]


class Phase(NamedTuple):
    """One optimizer update, which is the unit that a CUDA graph would capture."""

    name: str
    networks: tuple[str, ...]  # the children of the model that it updates
    terms: tuple[Term, ...]
    # Updates per turn (n_critic), each on a fresh batch: a number or a function of the moment, which may return 0.
    repeat: int | Callable[[Moment], int] = 1
    after: Callable[[Model], None] | None = None  # projects the weights after every update
    # What terms have left for after() in buffers, of which it is to see the mean over several processes.
    statistics: Callable[[Model], list[Tensor]] | None = None

    def updates(self, moment: Moment) -> int:
        """Return the number of updates in the turn that begins at this moment, 0 or more."""
        return self.repeat(moment) if callable(self.repeat) else self.repeat


class Loss(nn.Module, ABC):
    """How a family of models is trained; state, such as an image pool, lives in buffers and is saved and restored."""

    family: ClassVar[type[Model]]
    parts: ClassVar[Mapping[str, type]] = {}  # losses it is composed of, by the key that chooses them
    has_players: ClassVar[bool] = False  # whether a generator plays against a discriminator, whom the doctor examines

    @property
    def game(self) -> Any:
        """The AdversarialLoss that the two players play, if there are any: this loss, or a part of it."""
        return self

    @abstractmethod
    def phases(self, model: Any) -> list[Phase]:
        """Return the updates of one turn, in order, for a model of the loss's ``family``."""

    def check(self, model: Any) -> None:
        """Refuse a model of the family that a part of the loss is not made for. Raises UsageError."""

    def warnings(self, model: Any, settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Return one line, with a reference, for each setting that contradicts the paper it comes from.

        Args:
            model: the model in training.
            settings: the optimizer's settings per network: ``lr``, ``betas``, ``momentum``.
        """
        return []

    def nats(self, model: Any, batch: Batch) -> Tensor | None:
        """Return the negative log-likelihood per image, (N,) nats, or None if the loss is not based on one."""
        return None

    def measurements(self, model: Any, batch: Batch) -> dict[str, Callable[[], Tensor]]:
        """Return what the doctor measures besides, by name: scalars of a fixed batch of training images."""
        return {}
