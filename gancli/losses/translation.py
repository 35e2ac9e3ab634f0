"""Losses for image-to-image translation: any adversarial loss, and terms that tie the output to its source.

    gancli train model=cyclegan data=unpaired data/a=mnist data/b=digits loss/adversarial=hinge loss.cycle=5

Scores are maps with one logit per patch, over which the adversarial loss averages.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, l1_loss

from gancli.data.spec import Batch
from gancli.errors import UsageError
from gancli.losses.base import Phase
from gancli.losses.penalties import PenaltyInputs
from gancli.losses.pool import Pool
from gancli.losses.translation_game import TranslationLoss, label_of, source_of
from gancli.models.translation import Cyclic, MultiDomain, Paired


class CycleLoss(TranslationLoss):
    """Zhu et al. 2017, eqs. 1 to 3 and section 5.2: cycle consistency.

    The discriminators see generated images from a pool, while the generators are trained on their newest images.
    Deviation: the discriminators' images are generated separately, by the generators that were just updated.

    Args:
        cycle: lambda, the weight of the L1 distance between an image and its reconstruction.
        identity: weight, relative to ``cycle``, of the L1 distance by which an image of the target domain changes.
        pool: number of images kept for each domain; 0 for no pool.
        kwargs: see TranslationLoss.
    """

    family = Cyclic
    own_discriminator = 0.5  # halved, so that it learns more slowly than the generators

    def __init__(self, cycle: float = 10.0, identity: float = 0.5, pool: int = 50, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cycle, self.identity, self.capacity = cycle, identity, pool
        self.pools = nn.ModuleDict()

    def phases(self, model: Cyclic) -> list[Phase]:
        a, b = model.spec.source_channels, model.spec.channels
        if self.identity and a != b:
            raise UsageError(
                f"loss.identity={self.identity} needs the same number of channels in both domains, but they have "
                f"{a} and {b}; add loss.identity=0, or set data.channels"
            )
        size = model.spec.height, model.spec.width
        self.pools.update({name: Pool(self.capacity, (c, *size)) for name, c in (("a", a), ("b", b))})
        self.pools.to(model.device)
        generators = self._generators(self.generators_term, self._generator_games)
        return [generators, self._discriminators(self.discriminators_term, self._games)]

    def generators_term(self, model: Cyclic, batch: Batch) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = {}
        for source, other, there, back, to in self._directions(batch):
            fake = model.translate(source, there)
            real = partial(self._score, model, batch, other, to)
            losses |= self._fooled(self._score(model, batch, fake, to), real, f"/{there}")
            losses[f"cycle/{there}"] = self.cycle * l1_loss(model.translate(fake, back), source)
            if self.identity:
                losses[f"identity/{there}"] = self.cycle * self.identity * l1_loss(model.translate(other, there), other)
        return losses

    def discriminators_term(self, model: Cyclic, batch: Batch) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = {}
        for source, real, there, _, to in self._directions(batch):
            fake = self.pools[to](self._generated(model, source, there))
            scores = self._score(model, batch, real, to), self._score(model, batch, fake, to)
            losses |= self._told_apart(*scores, batch, f"/{to}")
        return losses

    def _score(self, model: Cyclic, batch: Batch, image: Tensor, domain: str) -> Tensor:
        return model.score(self.adversarial.seen(image, batch), domain)

    @staticmethod
    def _directions(batch: Batch) -> list[tuple[Tensor, Tensor, str, str, str]]:
        """Return for both directions: source, image of the other domain, direction, reverse direction, other domain."""
        a, b = source_of(batch), batch.image
        return [(a, b, "a2b", "b2a", "b"), (b, a, "b2a", "a2b", "a")]

    @staticmethod
    def _generated(model: Cyclic, source: Tensor, direction: str) -> Tensor:
        with torch.no_grad():
            return model.translate(source, direction)

    def _games(self, model: Cyclic, batch: Batch) -> dict[str, PenaltyInputs]:
        return {
            f"/{to}": PenaltyInputs(
                network=model.discriminators[to],
                score=partial(model.score, domain=to),
                real=self.adversarial.seen(real, batch),
                fake=partial(self._seen_translation, self._generated, model, batch, source, there),
                progress=batch.progress,
            )
            for source, real, there, _, to in self._directions(batch)
        }

    def _generator_games(self, model: Cyclic, batch: Batch) -> dict[str, PenaltyInputs]:
        return {
            f"/{there}": PenaltyInputs(
                network=model.generators[there],
                score=partial(model.score, domain=to),
                real=self.adversarial.seen(real, batch),
                fake=partial(self._seen_translation, Cyclic.translate, model, batch, source, there),
                progress=batch.progress,
            )
            for source, real, there, _, to in self._directions(batch)
        }

    def _seen_translation(
        self, translate: Callable[..., Tensor], model: Cyclic, batch: Batch, source: Tensor, direction: str
    ) -> Tensor:
        return self.adversarial.seen(translate(model, source, direction), batch)


class PairLoss(TranslationLoss):
    """Isola et al. 2017, eqs. 1, 3 and 4: a conditional adversarial loss and the L1 distance to the true image.

    Args:
        l1: lambda.
        kwargs: see TranslationLoss.
    """

    family = Paired
    own_discriminator = 0.5  # likewise

    def __init__(self, l1: float = 100.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.l1 = l1

    def phases(self, model: Paired) -> list[Phase]:
        generator = self._generators(self.generators_term, self._generator_games)
        return [self._discriminators(self.discriminators_term, self._games), generator]

    def generators_term(self, model: Paired, batch: Batch) -> dict[str, Tensor]:
        fake = model.translate(source_of(batch), "a2b")
        losses = self._fooled(self._score(model, batch, fake), lambda: self._score(model, batch, batch.image))
        return losses | {"l1": self.l1 * l1_loss(fake, batch.image)}

    def discriminators_term(self, model: Paired, batch: Batch) -> dict[str, Tensor]:
        real, fake = self._score(model, batch, batch.image), self._score(model, batch, self._generated(model, batch))
        return self._told_apart(real, fake, batch)

    def _score(self, model: Paired, batch: Batch, image: Tensor) -> Tensor:
        source, (seen,) = self.adversarial.seen_pairs(source_of(batch), [image], batch)
        return model.score(source, seen)

    @staticmethod
    def _generated(model: Paired, batch: Batch) -> Tensor:
        with torch.no_grad():
            return model.translate(source_of(batch), "a2b")

    def _games(self, model: Paired, batch: Batch) -> dict[str, PenaltyInputs]:
        # One augmentation for both, as interpolations of a real and a generated image must belong to one source.
        images = batch.image, self._generated(model, batch)
        source, (real, fake) = self.adversarial.seen_pairs(source_of(batch), images, batch)
        score = partial(model.score, source)
        return {"": PenaltyInputs(model.discriminators, score, real, lambda: fake, batch.progress)}

    def _generator_games(self, model: Paired, batch: Batch) -> dict[str, PenaltyInputs]:
        images = batch.image, model.translate(source_of(batch), "a2b")
        source, (real, fake) = self.adversarial.seen_pairs(source_of(batch), images, batch)
        score = partial(model.score, source)
        return {"": PenaltyInputs(model.generators, score, real, lambda: fake, batch.progress)}


class StarLoss(TranslationLoss):
    """Choi et al. 2018, eqs. 1 to 6: adversarial, domain classification and reconstruction losses.

    The discriminator learns the domains from real images only. The generator's images are classified against their
    target domains, which are the labels of the batch in random order, and reconstructed by translating them back.

    Args:
        classification: lambda_cls.
        reconstruction: lambda_rec.
        identity: weight, relative to ``reconstruction``, of the L1 distance between an image and its translation to its
            own domain. The term is CycleGAN's and not in the paper, where only the reconstruction ties a translation to
            its source, although translating back can undo a displacement.
        kwargs: see TranslationLoss.
    """

    family = MultiDomain

    def __init__(
        self, classification: float = 1.0, reconstruction: float = 10.0, identity: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.classification, self.reconstruction, self.identity = classification, reconstruction, identity

    def phases(self, model: MultiDomain) -> list[Phase]:
        generator = self._generators(self.generators_term, self._generator_games)
        return [self._discriminators(self.discriminators_term, self._games), generator]

    def generators_term(self, model: MultiDomain, batch: Batch) -> dict[str, Tensor]:
        image, label, target = batch.image, label_of(batch), shuffled(label_of(batch))
        fake = model.move(image, target)
        score, domain = model.judge(self.adversarial.seen(fake, batch))
        losses = self._fooled(score, lambda: model.judge(self.adversarial.seen(image, batch))[0])
        losses["classification"] = self.classification * cross_entropy(domain, target)
        losses["reconstruction"] = self.reconstruction * l1_loss(model.move(fake, label), image)
        if self.identity:
            losses["identity"] = self.reconstruction * self.identity * l1_loss(model.move(image, label), image)
        return losses

    def discriminators_term(self, model: MultiDomain, batch: Batch) -> dict[str, Tensor]:
        real, domain = model.judge(self.adversarial.seen(batch.image, batch))
        fake, _ = model.judge(self.adversarial.seen(self._generated(model, batch), batch))
        right = domain.argmax(1).eq(label_of(batch)).float().mean()
        losses = self._told_apart(real, fake, batch) | {"domain accuracy": right}
        return losses | {"classification": self.classification * cross_entropy(domain, label_of(batch))}

    @staticmethod
    def _generated(model: MultiDomain, batch: Batch) -> Tensor:
        with torch.no_grad():
            return model.move(batch.image, shuffled(label_of(batch)))

    def _games(self, model: MultiDomain, batch: Batch) -> dict[str, PenaltyInputs]:
        game = PenaltyInputs(
            network=model.discriminators,
            score=lambda image: model.judge(image)[0],
            real=self.adversarial.seen(batch.image, batch),
            fake=lambda: self.adversarial.seen(self._generated(model, batch), batch),
            progress=batch.progress,
        )
        return {"": game}

    def _generator_games(self, model: MultiDomain, batch: Batch) -> dict[str, PenaltyInputs]:
        game = PenaltyInputs(
            network=model.generators,
            score=lambda image: model.judge(image)[0],
            real=self.adversarial.seen(batch.image, batch),
            fake=lambda: self.adversarial.seen(model.move(batch.image, shuffled(label_of(batch))), batch),
            progress=batch.progress,
        )
        return {"": game}


def shuffled(label: Tensor) -> Tensor:
    """Return the labels in random order, (N,), so that target domains are as frequent as those of the data."""
    return label[torch.randperm(len(label), device=label.device)]
