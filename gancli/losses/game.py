"""The game that all adversarial losses share: which player is updated when, on which images, with which labels.

gancli train model=dcgan loss=hinge loss.repeat=2 loss.generator_batch=2
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from gancli.data.spec import Batch
from gancli.losses.base import Loss, Phase, Term
from gancli.losses.penalties import R1, PenaltyInputs, Regularizer, penalty_terms, projection, slopes_of, warnings
from gancli.losses.stabilizers import Stabilizer
from gancli.models.base import Adversarial, Model
from gancli.models.style import StyleBased
from gancli.ranges import Positive


class AdversarialLoss(Loss):
    """Two players: ``repeat`` updates of the discriminator, then one of the generator.

    Args:
        repeat: discriminator updates per generator update, each with fresh images and latents.
        generator_batch: number of images drawn for a generator update, as a multiple of the batch size.
        penalties: additional terms of the discriminator by name (set by ``penalty=[...]``).
        generator_penalties: additional terms of the generator by name (set by ``generator_penalty=[...]``).
        stabilizers: changes to the images and labels that the discriminator sees, by name and in this order (set by
            ``stabilizer=[...]``).

    Raises:
        ValueError: a part of the wrong type, a stabilizer that changes labels with a loss
            without labels, or one that needs a threshold with a loss without one.
    """

    family = Adversarial
    has_players = True
    threshold: float = 0.0  # an image with a score above it is classified as real
    labelled: ClassVar[bool] = True  # whether on_real and on_fake are one function of two labels
    calibrated: ClassVar[bool] = True  # whether the threshold is meaningful
    shares: ClassVar[bool] = True  # whether penalties can use the scores of the loss, see R1
    halved: ClassVar[bool] = False  # whether costs are half of what the papers on translation call by the same name

    def __init__(
        self,
        repeat: Positive = 1,
        generator_batch: Positive = 1,
        penalties: dict[str, Regularizer] | None = None,
        generator_penalties: dict[str, Regularizer] | None = None,
        stabilizers: dict[str, Stabilizer] | None = None,
    ) -> None:
        super().__init__()
        self.repeat, self.generator_batch = repeat, generator_batch
        self.penalties = _parts("penalty", "penalties", penalties, Regularizer)
        self.generator_penalties = _parts("generator_penalty", "generator_penalties", generator_penalties, Regularizer)
        modules = {name: each for name, each in self.generator_penalties.items() if isinstance(each, nn.Module)}
        self.remembering = nn.ModuleDict(modules)  # those with a state, which is saved and restored
        self.stabilizers = nn.ModuleDict(_parts("stabilizer", "stabilizers", stabilizers, Stabilizer))
        for name, each in self.stabilizers.items():
            if each.relabels and not self.labelled:
                raise ValueError(f"stabilizer={name} changes labels, but this loss has none; remove the stabilizer")
            if each.calibrated and not self.calibrated:
                raise ValueError(
                    f"stabilizer={name} needs to know which images are classified as real, which the scores of this "
                    "loss do not tell; use stabilizer=diffaugment"
                )

    @abstractmethod
    def on_real(self, score: Tensor) -> Tensor:
        """Return the discriminator's loss for each score of an image (or patch) labelled real."""

    @abstractmethod
    def on_fake(self, score: Tensor) -> Tensor:
        """Return the discriminator's loss for each score of an image (or patch) labelled generated."""

    @abstractmethod
    def on_generated(self, score: Tensor) -> Tensor:
        """Return the generator's loss for each score of an image (or patch) that it generated."""

    def discriminator_loss(
        self, real: Tensor, fake: Tensor, labels: tuple[Tensor, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Return named scalars to minimise.

        Args:
            real: scores of real images, (N,), or of their patches, (N, 1, H, W).
            fake: scores of generated images, of the same shape.
            labels: labels of the two, one number per image, see labels(); None for 1 and 0.
        """
        if labels is None:
            return {"real": self.on_real(real).mean(), "fake": self.on_fake(fake).mean()}
        return {"real": self._labelled(real, labels[0]).mean(), "fake": self._labelled(fake, labels[1]).mean()}

    def generator_loss(self, fake: Tensor, real: Callable[[], Tensor] | None = None) -> dict[str, Tensor]:
        """Return named scalars to minimise.

        Args:
            fake: scores of generated images, (N,), or of their patches, (N, 1, H, W).
            real: computes the scores of real images, for losses that compare the two.
        """
        return {"fake": self.on_generated(fake).mean()}

    def generator_pays(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Return what the generator minimises, given the scores of real and generated images, (N,) each."""
        return self.generator_loss(fake)

    def verdicts(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Return statistics of the discriminator: mean scores and accuracy."""
        right = (real > self.threshold).float().mean() + (fake <= self.threshold).float().mean()
        return {"score(real)": real.mean(), "score(fake)": fake.mean(), "accuracy": right / 2}

    def statistics(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Return everything that is logged of the discriminator's scores, and pass the scores to the stabilizers."""
        found = self.verdicts(real, fake)
        for each in self._stabilizing():
            found |= each.observe(real - self.threshold)
        return found

    def phases(self, model: Adversarial) -> list[Phase]:
        can = {name: each for name, each in self.penalties.items() if self.shares and isinstance(each, R1)}
        shared = {name: each for name, each in can.items() if each.shared}
        own = {name: each for name, each in self.penalties.items() if name not in shared}
        loss = Term(partial(self.shared_term, shared), second_order=True) if shared else Term(self.discriminator_term)
        terms = (loss, *penalty_terms(own, self._games, through=True))
        generator_terms = Term(self.generator_term), *penalty_terms(self.generator_penalties, self._generator_games)
        after, generator_after = (
            projection(self.penalties, "discriminator"), projection(self.generator_penalties, "generator")
        )  # fmt: skip
        return [
            Phase("discriminator", ("discriminator",), terms, self.repeat, after),
            Phase("generator", ("generator",), generator_terms, after=generator_after),
        ]

    def check(self, model: Adversarial) -> None:
        self.check_parts(model)

    def check_parts(self, model: Model) -> None:
        """Refuse a model, of this family or of one whose loss contains this one, that a regularizer is not made for.

        Raises:
            UsageError: see Regularizer.check().
        """
        for each in (*self.penalties.values(), *self.generator_penalties.values()):
            each.check(model)

    def warnings(self, model: Adversarial, settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
        return self.contradictions(model.discriminator, settings["discriminator"])

    def contradictions(self, critic: nn.Module, settings: Mapping[str, Any]) -> list[str]:
        """Return one line for whatever the papers advise against in a discriminator and its optimizer's settings."""
        return warnings(self.penalties, critic, settings)

    def discriminator_term(self, model: Adversarial, batch: Batch) -> dict[str, Tensor]:
        wanted = model.target_labels(batch.label)
        fake = self.seen(self._generated(model, wanted, batch), batch)
        # Two forward passes, because batch norm must not see real and fake images in one batch (DCGAN).
        s_real = model.score(self.seen(batch.image, batch), batch.label)
        s_fake = model.score(fake, wanted)
        losses = self.discriminator_loss(s_real, s_fake, self.labels(s_real, batch.progress))
        return losses | self.statistics(s_real.detach(), s_fake.detach())

    def shared_term(self, shared: Mapping[str, R1], model: Adversarial, batch: Batch) -> dict[str, Tensor]:
        """Return what discriminator_term() does, and penalties on the slopes of the same scores."""
        wanted = model.target_labels(batch.label)
        images = [each.detach().requires_grad_() for each in (batch.image, self._generated(model, wanted, batch))]
        seen = [self.seen(image, batch) for image in images]
        real, fake = model.score(seen[0], batch.label), model.score(seen[1], wanted)
        found = self.discriminator_loss(real, fake, self.labels(real, batch.progress))
        for name, each in shared.items():
            score, i = (real, 0) if each.at_real else (fake, 1)
            found[name] = each.flat(slopes_of(score, (images if each.through else seen)[i]), batch.progress)
        return found | self.statistics(real.detach(), fake.detach())

    def generator_term(self, model: Adversarial, batch: Batch) -> dict[str, Tensor]:
        fake, wanted = self.drawn(model, batch)
        real = lambda: model.score(self.seen(batch.image, batch), batch.label)  # noqa: E731
        return self.generator_loss(model.score(fake, wanted), real)

    def drawn(self, model: Adversarial, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Draw images for a generator update, as the discriminator sees them, and their labels.

        The latents are fresh: none is used twice.
        """
        label = batch.label if batch.label is None else batch.label.repeat(self.generator_batch)
        wanted = model.target_labels(label)
        fake = model.generate(model.latent(self.generator_batch * len(batch.image)), wanted)
        return self.seen(fake, batch), wanted

    def seen(self, image: Tensor, batch: Batch) -> Tensor:
        """Return images, real or generated, as the discriminator sees them in both players' updates."""
        for each in self._stabilizing():
            image = each.image(image, batch.progress)
        return image

    def seen_pairs(self, source: Tensor, images: Sequence[Tensor], batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """Return sources, and images that belong to them, as a discriminator of pairs sees them."""
        for each in self._stabilizing():
            source, images = each.pairs(source, images, batch.progress)
        return source, list(images)

    def _generated(self, model: Adversarial, label: Tensor | None, batch: Batch) -> Tensor:
        """Draw as many images as the batch has, without gradients, for a discriminator update."""
        with torch.no_grad():
            return model.generate(model.latent(len(batch.image)), label)

    def labels(self, score: Tensor, progress: Tensor | None = None) -> tuple[Tensor, Tensor] | None:
        """Return the labels of real and generated images, one number per image; None stands for 1 and 0."""
        changing = [each for each in self._stabilizing() if each.relabels]
        if not changing:
            return None
        one = score[(slice(None), *[slice(1)] * (score.ndim - 1))]  # (N,), or (N, 1, 1, 1) for all patches of an image
        labels = torch.ones_like(one), torch.zeros_like(one)
        for each in changing:
            labels = each.labels(*labels, progress)
        return labels

    def _stabilizing(self) -> list[Stabilizer]:
        return cast("list[Stabilizer]", list(self.stabilizers.values()))

    def _labelled(self, score: Tensor, label: Tensor) -> Tensor:
        # Cross-entropy and, up to a constant, squared errors are affine in the label, so this is the soft-label loss.
        return label * self.on_real(score) + (1 - label) * self.on_fake(score)

    def _games(self, model: Adversarial, batch: Batch) -> dict[str, PenaltyInputs]:
        before = PenaltyInputs(
            network=model.discriminator,
            score=lambda image: model.score(self.seen(image, batch), batch.label),
            real=batch.image,
            # With the batch's own labels, as interpolations of a real and a generated image must have one class.
            fake=lambda: self._generated(model, batch.label, batch),
            progress=batch.progress,
        )
        game = before._replace(
            score=partial(model.score, label=batch.label),
            real=self.seen(batch.image, batch),
            fake=lambda: self.seen(before.fake(), batch),
            before=before,
        )
        return {"": game}

    def _generator_games(self, model: Adversarial, batch: Batch) -> dict[str, PenaltyInputs]:
        label = model.target_labels(batch.label)
        latents = model.latent(len(batch.image)).requires_grad_()
        game = PenaltyInputs(
            network=model.generator,
            score=partial(model.score, label=label),
            real=self.seen(batch.image, batch),
            fake=lambda: self.seen(model.generate(latents, label), batch),
            progress=batch.progress,
            latents=latents,
            styled=partial(_styled, model, label) if isinstance(model, StyleBased) else None,
        )
        return {"": game}


def _styled(model: StyleBased, label: Tensor | None, n: int) -> tuple[Tensor, Tensor]:
    """Draw n images, of the first n labels, with their styles; mixed, in training, like those of the loss."""
    ws = model.mixed_style(model.latent(n), None if label is None else label[:n])
    return ws, model.synthesise(ws)


def _parts(group: str, key: str, parts: Mapping[str, Any] | None, kind: type) -> dict[str, Any]:
    for name, each in (parts or {}).items():
        if not isinstance(each, kind):
            raise ValueError(f"{key}.{name} is not a {kind.__name__}; choose it with {group}={name}")
    return dict(parts or {})
