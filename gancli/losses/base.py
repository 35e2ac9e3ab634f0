"""What a loss is made of: terms (functions to named scalars) and phases (one optimizer update each)."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from gancli.data.spec import Batch
from gancli.models.base import Model


class Term(NamedTuple):
    """A pure function to named scalars, the unit of ``torch.compile``.

    Scalars that carry a gradient are summed and minimised; detached ones are only recorded.
    """

    fn: Callable[[Any, Batch], dict[str, Tensor]]  # of a model of the loss's family, and a batch
    interval: int = 1  # due every so many updates of its phase, and then scaled by as much (lazy regularisation)
    second_order: bool = False  # differentiates through a gradient: runs eager and in float32


class Moment(NamedTuple):
    """Where a run is: what a phase may decide its number of updates by."""

    turn: int  # turns done so far, in each of which every phase had its updates
    share: float  # of the run that is done, in [0, 1]


class Phase(NamedTuple):
    """One optimizer update, the unit that a CUDA graph would capture."""

    name: str
    networks: tuple[str, ...]  # the model's children that it updates, and no others
    terms: tuple[Term, ...]
    # Updates per turn (n_critic), each on a fresh batch: a number, or a function of the moment. May be 0 for a while.
    repeat: int | Callable[[Moment], int] = 1
    after: Callable[[Model], None] | None = None  # what the weights are projected by after every update

    def updates(self, moment: Moment) -> int:
        """Return the number of updates that the phase does in the turn that begins at this moment, 0 or more."""
        return self.repeat(moment) if callable(self.repeat) else self.repeat


class Loss(nn.Module, ABC):
    """How a family of models is trained. State (an image pool, say) lives in buffers: it is saved and resumed."""

    family: ClassVar[type[Model]]
    parts: ClassVar[Mapping[str, type]] = {}  # losses that it is made of, by the key that chooses them
    has_players: ClassVar[bool] = False  # is an AdversarialLoss, whose two players the doctor examines

    @abstractmethod
    def phases(self, model: Any) -> list[Phase]:
        """Return the updates of one training step of a model of the loss's ``family``, in order."""

    def warnings(self, model: Any, settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Return one line, with its source, for each choice that contradicts the paper it comes from.

        Args:
            model: what is trained.
            settings: per network, what its optimizer was told: ``lr``, ``betas``, ``momentum``.
        """
        return []

    def nats(self, model: Any, batch: Batch) -> Tensor | None:
        """Return the negative log-likelihood per image, (N,) nats, where the loss is one."""
        return None
