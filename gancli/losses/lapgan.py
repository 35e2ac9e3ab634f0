"""LAPGAN's loss: Denton et al. 2015, section 3.2: a game of its own for every level of the pyramid.

Every level is trained on real coarse images alone, independently of the others. Levels share no weights, so the sum of
their losses in one update per player is the same as training all of them side by side. The game is the non-saturating
one of the paper, or any other: ``loss/adversarial=hinge``. Penalties and stabilizers act on each level at its own size.

Deviation: the coarse images under generated residuals are those of the real images in the same batch; in the authors'
code they are drawn independently for the real half, the generated half and the generator. Samples of the chain, whose
coarse images are generated, are never seen in training, as in the paper.

    gancli train model=lapgan data=mnist loss/adversarial=hinge penalty=r1 model.discriminator_norm=none
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gancli.data.spec import Batch
from gancli.losses.base import Phase, Term
from gancli.losses.containing import ContainsAdversarial
from gancli.losses.penalties import PenaltyInputs, penalty_terms
from gancli.models.lapgan import LAPGAN


class Level(NamedTuple):
    """One level of a batch."""

    number: int  # 0 is the coarsest
    name: str  # height in pixels, the ending of its scalars
    real: Tensor  # (N, C, H, W), as the discriminator sees them
    coarse: Tensor | None  # (N, C, H/2, W/2), the real images one level below; None for the coarsest


class LAPGANLoss(ContainsAdversarial):
    """The sum of an adversarial loss over all levels, one phase per player; scalars end in ``/<height>``.

    Arguments are those of ContainsAdversarial.
    """

    family = LAPGAN
    has_players = True

    def phases(self, model: LAPGAN) -> list[Phase]:
        discriminator, generator = self.adversarial.phases(model)  # its updates per turn and projections
        penalties = penalty_terms(self.adversarial.penalties, self._games)
        generator_penalties = penalty_terms(self.adversarial.generator_penalties, self._generator_games)
        return [
            discriminator._replace(terms=(Term(self.discriminator_term), *penalties)),
            generator._replace(terms=(Term(self.generator_term), *generator_penalties)),
        ]

    def warnings(self, model: LAPGAN, settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
        return self.adversarial.warnings(model, settings)

    def discriminator_term(self, model: LAPGAN, batch: Batch) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = {}
        for level in self._levels(model, batch):
            with torch.no_grad():
                fake = self._generated(model, batch, level)
            s_real = model.score_level(level.number, level.real, batch.label)
            s_fake = model.score_level(level.number, fake, batch.label)
            found = self.adversarial.discriminator_loss(s_real, s_fake, self.adversarial.labels(s_real, batch.progress))
            found |= self.adversarial.statistics(s_real.detach(), s_fake.detach())
            losses |= _named(found, level)
        return losses

    def generator_term(self, model: LAPGAN, batch: Batch) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = {}
        times = self.adversarial.generator_batch
        label = batch.label if batch.label is None else batch.label.repeat(times)
        for level in self._levels(model, batch):
            fake = self._generated(model, batch, level, times)
            real = partial(model.score_level, level.number, level.real, batch.label)
            found = self.adversarial.generator_loss(model.score_level(level.number, fake, label), real)
            losses |= _named(found, level)
        return losses

    def _levels(self, model: LAPGAN, batch: Batch) -> Iterator[Level]:
        images = model.pyramid(batch.image)
        for number, (name, image) in enumerate(zip(model.names, images)):
            yield Level(number, name, self.adversarial.seen(image, batch), images[number - 1] if number else None)

    def _generated(self, model: LAPGAN, batch: Batch, level: Level, times: int = 1, z: Tensor | None = None) -> Tensor:
        """Draw images of a level on real coarse images, each used ``times`` times, as the discriminator sees them."""
        z = model.noise(level.number, times * len(batch.image)) if z is None else z
        coarse = level.coarse if level.coarse is None else level.coarse.repeat(times, 1, 1, 1)
        label = batch.label if batch.label is None else batch.label.repeat(times)
        return self.adversarial.seen(model.level(level.number, z, coarse, label), batch)

    def _games(self, model: LAPGAN, batch: Batch) -> dict[str, PenaltyInputs]:
        def drawn(level: Level) -> Tensor:
            with torch.no_grad():
                return self._generated(model, batch, level)

        return {
            f"/{level.name}": PenaltyInputs(
                network=model.discriminator[level.name],
                score=partial(model.score_level, level.number, label=batch.label),
                real=level.real,
                fake=partial(drawn, level),
                progress=batch.progress,
            )
            for level in self._levels(model, batch)
        }

    def _generator_games(self, model: LAPGAN, batch: Batch) -> dict[str, PenaltyInputs]:
        games = {}
        for level in self._levels(model, batch):
            latents = model.noise(level.number, len(batch.image)).requires_grad_()
            games[f"/{level.name}"] = PenaltyInputs(
                network=model.generator[level.name],
                score=partial(model.score_level, level.number, label=batch.label),
                real=level.real,
                fake=partial(self._generated, model, batch, level, z=latents),
                progress=batch.progress,
                latents=latents,
            )
        return games


def _named(found: Mapping[str, Tensor], level: Level) -> dict[str, Tensor]:
    return {f"{key}/{level.name}": value for key, value in found.items()}
