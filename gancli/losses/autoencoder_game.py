"""The base of losses in which an autoencoder plays against a discriminator, by any adversarial loss of this project.

The discriminator compares real images with pictures of the decoder, of one or several kinds, each of the same weight;
all kinds together weigh as much as the real images.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gancli.data.spec import Batch
from gancli.losses.base import Phase, Term
from gancli.losses.containing import ContainsAdversarial
from gancli.losses.penalties import PenaltyInputs, penalty_terms, projection


class AutoencoderGame(ContainsAdversarial):
    """A discriminator's phase, and what the decoder pays, for a model with ``discriminator`` and ``judge``.

    Arguments are those of ContainsAdversarial; ``generator_penalties`` are the decoder's.
    """

    @abstractmethod
    def drawn(self, model: Any, batch: Batch) -> list[Tensor]:
        """Return pictures of the decoder, (N, C, H, W) of each kind; the last kind is that of the penalties."""

    def warnings(self, model: Any, settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
        return self.adversarial.contradictions(model.discriminator, settings["discriminator"])

    def discriminator(self) -> Phase:
        """Return the phase of the discriminator, with its penalties."""
        terms = (Term(self.discriminator_term), *penalty_terms(self.adversarial.penalties, self._games))
        after = projection(self.adversarial.penalties, "discriminator")
        return Phase("discriminator", ("discriminator",), terms, self.adversarial.repeat, after)

    def decoder_penalties(self) -> tuple[Term, ...]:
        """Return the terms of the generator's penalties, which are the decoder's here."""
        return penalty_terms(self.adversarial.generator_penalties, self._decoder_games)

    def discriminator_term(self, model: Any, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            fakes = self.drawn(model, batch)
        # A forward pass for each kind, because batch norm must not see several in one batch.
        real = torch.cat([self._score(model, batch, batch.image)] * len(fakes))
        fake = torch.cat([self._score(model, batch, each) for each in fakes])
        losses = self.adversarial.discriminator_loss(real, fake, self.adversarial.labels(real, batch.progress))
        return losses | self.adversarial.statistics(real.detach(), fake.detach())

    def judged(self, model: Any, batch: Batch, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return scores of pictures, as the discriminator sees them, and its features of the pictures themselves."""
        score, features = model.judge(image)
        seen = self.adversarial.seen(image, batch)
        return (score if seen is image else model.judge(seen)[0]), features

    def fooled(self, model: Any, batch: Batch, *scores: Tensor) -> dict[str, Tensor]:
        """Return what the decoder pays for the scores of its pictures, of one or several kinds of N each."""
        real = lambda: torch.cat([self._score(model, batch, batch.image)] * len(scores))  # noqa: E731
        return self.adversarial.generator_loss(torch.cat(scores), real)

    def _score(self, model: Any, batch: Batch, image: Tensor) -> Tensor:
        return model.judge(self.adversarial.seen(image, batch))[0]

    def _games(self, model: Any, batch: Batch) -> dict[str, PenaltyInputs]:
        def fake() -> Tensor:
            with torch.no_grad():
                return self.adversarial.seen(self.drawn(model, batch)[-1], batch)

        real = self.adversarial.seen(batch.image, batch)
        return {"": PenaltyInputs(model.discriminator, lambda x: model.judge(x)[0], real, fake, batch.progress)}

    def _decoder_games(self, model: Any, batch: Batch) -> dict[str, PenaltyInputs]:
        fake = lambda: self.adversarial.seen(self.drawn(model, batch)[-1], batch)  # noqa: E731
        real = self.adversarial.seen(batch.image, batch)
        return {"": PenaltyInputs(model.decoder, lambda x: model.judge(x)[0], real, fake, batch.progress)}
