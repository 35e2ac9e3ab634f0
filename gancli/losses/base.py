"""What a loss is made of: terms (functions to named scalars) and phases (one optimizer update each)."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from gancli.data.spec import Batch
from gancli.models.base import Model


class Term(NamedTuple):
    """A pure function to named scalars, the unit of ``torch.compile``.

    Scalars that carry a gradient are summed and minimised; detached ones are only recorded.
    """

    fn: Callable[[Model, Batch], dict[str, Tensor]]
    interval: int = 1  # due every so many updates of its phase, and then scaled by as much (lazy regularisation)
    second_order: bool = False  # differentiates through a gradient: runs eager and in float32


class Phase(NamedTuple):
    """One optimizer update, the unit that a CUDA graph would capture."""

    name: str
    networks: tuple[str, ...]  # the model's children that it updates, and no others
    terms: tuple[Term, ...]
    repeat: int = 1  # updates per generator update (n_critic), each on a fresh batch


class Loss(nn.Module, ABC):
    """How a family of models is trained. State (an image pool, say) lives in buffers: it is saved and resumed."""

    family: ClassVar[type[Model]]

    @abstractmethod
    def phases(self, model: Model) -> list[Phase]:
        """Return the updates of one training step, in order."""

    def nats(self, model: Model, batch: Batch) -> Tensor | None:
        """Return the negative log-likelihood per image, (N,) nats, where the loss is one."""
        return None
