"""The base of the losses for image-to-image translation: generators against patch discriminators."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import Tensor

from gancli.data.spec import Batch
from gancli.losses.base import Phase, Term
from gancli.losses.containing import ContainsAdversarial
from gancli.losses.game import AdversarialLoss
from gancli.losses.penalties import PenaltyInputs, penalty_terms, projection
from gancli.models.translation import Translation

Drawn = Callable[[], Tensor]


def source_of(batch: Batch) -> Tensor:
    """Return the source images, (N, C, H, W), which every batch of paired and unpaired data has."""
    assert batch.source is not None
    return batch.source


def label_of(batch: Batch) -> Tensor:
    """Return the domains of the images, (N,), which every batch of labelled data has."""
    assert batch.label is not None
    return batch.label


class TranslationLoss(ContainsAdversarial):
    """The base of losses for image-to-image translation: an adversarial loss, its weights, and the two phases.

    Args:
        adversarial: see ContainsAdversarial.
        gan: weight of the generators' adversarial term; None: the paper's 1, doubled for least squares, which are
            halved here (losses/adversarial.py) and whole in the papers on translation.
        discriminator: weight of the discriminators'; None: the paper's, ``own_discriminator``, likewise. (Adam, which
            divides by the gradient's size, all but undoes it.)
        kwargs: see ContainsAdversarial.

    Raises:
        ValueError: ``adversarial`` is not an adversarial loss.
    """

    own_discriminator: ClassVar[float] = 1.0  # the paper's weight of the discriminators' loss

    def __init__(
        self,
        adversarial: Callable[..., AdversarialLoss],
        gan: float | None = None,
        discriminator: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(adversarial, **kwargs)
        whole = 2.0 if self.adversarial.halved else 1.0
        self.gan = whole if gan is None else gan
        self.discriminator = whole * self.own_discriminator if discriminator is None else discriminator

    def warnings(self, model: Translation, settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
        return self.adversarial.contradictions(model.discriminators, settings["discriminators"])

    def _discriminators(
        self, term: Callable[..., dict[str, Tensor]], games: Callable[..., dict[str, PenaltyInputs]]
    ) -> Phase:
        """Return the discriminators' phase with their loss and penalties."""
        terms = (Term(term), *penalty_terms(self.adversarial.penalties, games))
        after = projection(self.adversarial.penalties, "discriminators")
        return Phase("discriminators", ("discriminators",), terms, self.adversarial.repeat, after)

    def _generators(
        self, term: Callable[..., dict[str, Tensor]], games: Callable[..., dict[str, PenaltyInputs]]
    ) -> Phase:
        """Return the generators' phase with their loss and penalties."""
        terms = (Term(term), *penalty_terms(self.adversarial.generator_penalties, games))
        after = projection(self.adversarial.generator_penalties, "generators")
        return Phase("generators", ("generators",), terms, after=after)

    def _told_apart(self, real: Tensor, fake: Tensor, batch: Batch, ending: str = "") -> dict[str, Tensor]:
        """Return the loss of a discriminator for its scores, and its statistics."""
        losses = self.adversarial.discriminator_loss(real, fake, self.adversarial.labels(real, batch.progress))
        weighted = {key: self.discriminator * v if v.requires_grad else v for key, v in losses.items()}
        found = weighted | self.adversarial.statistics(real.detach(), fake.detach())
        return {f"{key}{ending}": value for key, value in found.items()}

    def _fooled(self, fake: Tensor, real: Drawn, ending: str = "") -> dict[str, Tensor]:
        """Return the loss of a generator for the scores of its images."""
        losses = self.adversarial.generator_loss(fake, real)
        return {f"{key}{ending}": self.gan * value for key, value in losses.items()}
