"""The base of losses that an adversarial loss is a part of, such as those of translation and of autoencoders."""

from collections.abc import Callable
from typing import Any

from gancli.losses.base import Loss
from gancli.losses.game import AdversarialLoss
from gancli.losses.penalties import Regularizer
from gancli.losses.stabilizers import Stabilizer


class ContainsAdversarial(Loss):
    """A loss with a part ``adversarial``, which has the penalties and stabilizers.

    Args:
        adversarial: makes the adversarial loss of ``penalties=``, ``generator_penalties=`` and ``stabilizers=``.
        penalties: see AdversarialLoss.
        generator_penalties: see AdversarialLoss.
        stabilizers: see AdversarialLoss.

    Raises:
        ValueError: ``adversarial`` is not an adversarial loss.
    """

    parts = {"adversarial": AdversarialLoss}

    def __init__(
        self,
        adversarial: Callable[..., AdversarialLoss],
        penalties: dict[str, Regularizer] | None = None,
        generator_penalties: dict[str, Regularizer] | None = None,
        stabilizers: dict[str, Stabilizer] | None = None,
    ) -> None:
        super().__init__()
        if not issubclass(getattr(adversarial, "func", object), AdversarialLoss):
            raise ValueError("adversarial is not an adversarial loss; choose one, such as loss/adversarial=hinge")
        self.adversarial = adversarial(
            penalties=penalties, generator_penalties=generator_penalties, stabilizers=stabilizers
        )

    @property
    def game(self) -> AdversarialLoss:
        return self.adversarial

    def check(self, model: Any) -> None:
        self.adversarial.check_parts(model)
