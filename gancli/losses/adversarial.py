"""Adversarial losses as functions of the discriminator's logits, in forms that neither overflow nor cancel.

With D = sigmoid(s): -log D(x) = softplus(-s(x)) and -log(1 - D(x)) = softplus(s(x)).

    gancli train model=dcgan loss=hinge 'penalty=[r1,drift]' stabilizer=instance_noise
"""

from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, softplus

from gancli.data.spec import Batch
from gancli.losses.base import Loss, Phase, Term
from gancli.losses.penalties import Game, Penalty, Projection, Regularizer
from gancli.losses.stabilizers import Stabilizer
from gancli.models.base import Adversarial


class AdversarialLoss(Loss):
    """Two players: the discriminator's update, ``repeat`` times, then the generator's.

    Args:
        repeat: discriminator updates per generator update, each with fresh images and latents.
        penalties: what else the discriminator pays for, by name (``penalty=[...]`` fills it).
        stabilizers: what is done to the images and labels it sees, by name, in this order (``stabilizer=[...]``).

    Raises:
        ValueError: a repeat below 1, a named part that is no such part, or label noise for a loss without labels.
    """

    family = Adversarial
    threshold: ClassVar[float] = 0.0  # scores above it call an image real
    labelled: ClassVar[bool] = True  # whether on_real and on_fake are one function of two labels

    def __init__(
        self,
        repeat: int = 1,
        penalties: dict[str, Regularizer] | None = None,
        stabilizers: dict[str, Stabilizer] | None = None,
    ) -> None:
        super().__init__()
        if repeat < 1:
            raise ValueError(f"repeat={repeat} must be 1 or more")
        self.repeat = repeat
        self.penalties = _parts("penalty", "penalties", penalties, Regularizer)
        self.stabilizers = nn.ModuleDict(_parts("stabilizer", "stabilizers", stabilizers, Stabilizer))
        for name, each in self.stabilizers.items():
            if each.relabels and not self.labelled:
                raise ValueError(f"stabilizer={name} changes labels, and this loss has none; take it out")

    @abstractmethod
    def on_real(self, score: Tensor) -> Tensor:
        """What the discriminator pays for an image labelled real, (N,) scores -> (N,)."""

    @abstractmethod
    def on_fake(self, score: Tensor) -> Tensor:
        """What the discriminator pays for an image labelled generated, (N,) scores -> (N,)."""

    @abstractmethod
    def on_generated(self, score: Tensor) -> Tensor:
        """What the generator pays for an image of its own, (N,) scores -> (N,)."""

    def discriminator_loss(
        self, real: Tensor, fake: Tensor, labels: tuple[Tensor, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Return named scalars to minimise.

        Args:
            real: scores of real images, (N,).
            fake: scores of generated images, (N,).
            labels: how real each of the two is said to be, (N,) each; None: 1 and 0.
        """
        if labels is None:
            return {"real": self.on_real(real).mean(), "fake": self.on_fake(fake).mean()}
        return {"real": self._labelled(real, labels[0]).mean(), "fake": self._labelled(fake, labels[1]).mean()}

    def generator_loss(self, fake: Tensor) -> dict[str, Tensor]:
        """Return named scalars to minimise, given the scores of generated images, (N,)."""
        return {"fake": self.on_generated(fake).mean()}

    def generator_pays(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Return what the generator minimises, given the scores of real and of generated images, (N,) each."""
        return self.generator_loss(fake)

    def verdicts(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Return statistics of the discriminator: mean scores and the share of right answers."""
        right = (real > self.threshold).float().mean() + (fake <= self.threshold).float().mean()
        return {"score(real)": real.mean(), "score(fake)": fake.mean(), "accuracy": right / 2}

    def phases(self, model: Adversarial) -> list[Phase]:
        penalties = [
            Term(partial(self._penalty_term, name, each), each.interval, each.second_order)
            for name, each in self.penalties.items()
            if isinstance(each, Penalty)
        ]
        terms = (Term(self.discriminator_term), *penalties)
        after = self._project if any(isinstance(each, Projection) for each in self.penalties.values()) else None
        return [
            Phase("discriminator", ("discriminator",), terms, self.repeat, after),
            Phase("generator", ("generator",), (Term(self.generator_term),)),
        ]

    def cautions(self, model: Adversarial, settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
        told = settings["discriminator"]
        return [line for each in self.penalties.values() if (line := each.caution(model.discriminator, told))]

    def discriminator_term(self, model: Adversarial, batch: Batch) -> dict[str, Tensor]:
        wanted = model.wanted(batch.label)
        fake = self.seen(self._generated(model, wanted, batch), batch)
        # Two forwards, not one on the concatenation: batch norm must not see real and fake images mixed (DCGAN).
        s_real = model.score(self.seen(batch.image, batch), batch.label)
        s_fake = model.score(fake, wanted)
        losses = self.discriminator_loss(s_real, s_fake, self._labels(s_real))
        return losses | self.verdicts(s_real.detach(), s_fake.detach())

    def generator_term(self, model: Adversarial, batch: Batch) -> dict[str, Tensor]:
        wanted = model.wanted(batch.label)
        fake = model.generate(model.latent(len(batch.image)), wanted)
        return self.generator_loss(model.score(self.seen(fake, batch), wanted))

    def seen(self, image: Tensor, batch: Batch) -> Tensor:
        """Return images as the discriminator gets them, real ones or generated, in its own step or the generator's."""
        for each in self.stabilizers.values():
            image = each.image(image, batch.progress)
        return image

    def _generated(self, model: Adversarial, label: Tensor | None, batch: Batch) -> Tensor:
        """Draw as many images as the batch has, for an update of the discriminator alone."""
        with torch.no_grad():
            return model.generate(model.latent(len(batch.image)), label)

    def _labels(self, score: Tensor) -> tuple[Tensor, Tensor] | None:
        changing = [each for each in self.stabilizers.values() if each.relabels]
        if not changing:
            return None
        labels = torch.ones_like(score), torch.zeros_like(score)
        for each in changing:
            labels = each.labels(*labels)
        return labels

    def _labelled(self, score: Tensor, label: Tensor) -> Tensor:
        # Cross-entropy, and squares up to a constant, are affine in the label: this is the soft-label loss itself.
        return label * self.on_real(score) + (1 - label) * self.on_fake(score)

    def _penalty_term(self, name: str, penalty: Penalty, model: Adversarial, batch: Batch) -> dict[str, Tensor]:
        game = Game(
            critic=model.discriminator,
            score=partial(model.score, label=batch.label),
            real=self.seen(batch.image, batch),
            # Of the batch's own labels: what lies between a real and a generated image has to be of one class.
            fake=lambda: self.seen(self._generated(model, batch.label, batch), batch),
        )
        return {name: penalty(game)}

    def _project(self, model: Adversarial) -> None:
        for each in self.penalties.values():
            if isinstance(each, Projection):
                each.project(model.discriminator)


def _parts(group: str, key: str, parts: Mapping[str, Any] | None, kind: type) -> dict[str, Any]:
    for name, each in (parts or {}).items():
        if not isinstance(each, kind):
            raise ValueError(f"{key}.{name} is no {kind.__name__}; choose it by {group}={name}")
    return dict(parts or {})


def verdicts(real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """Statistics of the discriminator: mean D(real), mean D(fake), share of right answers; logits (N,) -> scalars."""
    right = (real > 0).float().mean() + (fake <= 0).float().mean()
    return {"D(real)": real.sigmoid().mean(), "D(fake)": fake.sigmoid().mean(), "accuracy": right / 2}


class Minimax(AdversarialLoss):
    """The minimax game of Goodfellow et al. 2014, eq. 1: the generator minimises E log(1 - D(G(z))).

    It saturates: where D rejects the fakes, the generator's gradient vanishes (their section 3).
    """

    def on_real(self, score: Tensor) -> Tensor:
        return softplus(-score)

    def on_fake(self, score: Tensor) -> Tensor:
        return softplus(score)

    def on_generated(self, score: Tensor) -> Tensor:
        return -softplus(score)

    def verdicts(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        return verdicts(real, fake)


class NonSaturating(Minimax):
    """Goodfellow et al. 2014, section 3: the generator maximises E log D(G(z)) instead; the same fixed point."""

    def on_generated(self, score: Tensor) -> Tensor:
        return softplus(-score)


class LSGAN(AdversarialLoss):
    """Mao et al. 2017, Least Squares Generative Adversarial Networks, eq. 2 (each square halved).

    Args:
        a: what the discriminator should say of generated images.
        b: what it should say of real ones.
        c: what the generator wants it to say.
        kwargs: see AdversarialLoss.
    """

    def __init__(self, a: float = 0.0, b: float = 1.0, c: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.a, self.b, self.c = a, b, c
        self.threshold = (a + b) / 2

    def on_real(self, score: Tensor) -> Tensor:
        return (score - self.b).square() / 2

    def on_fake(self, score: Tensor) -> Tensor:
        return (score - self.a).square() / 2

    def on_generated(self, score: Tensor) -> Tensor:
        return (score - self.c).square() / 2


class Hinge(AdversarialLoss):
    """The hinge loss in the form of Miyato et al. 2018, Spectral Normalization for GANs, eqs. 16 and 17."""

    def on_real(self, score: Tensor) -> Tensor:
        return relu(1 - score)

    def on_fake(self, score: Tensor) -> Tensor:
        return relu(1 + score)

    def on_generated(self, score: Tensor) -> Tensor:
        return -score


class Wasserstein(AdversarialLoss):
    """Arjovsky et al. 2017, Wasserstein GAN, algorithm 1: the critic maximises E f(x) - E f(G(z)).

    It needs a critic of bounded slope: ``penalty=weight_clipping`` or ``penalty=gradient_penalty``. The recorded
    ``distance`` is then an estimate of K W1 for slopes up to K.

    Args:
        repeat: critic updates per generator update (n_critic).
        warmup: generator updates before which the critic has ``warmup_repeat`` updates (25 in the authors' release).
        warmup_every: the same whenever this many generator updates are done (500 in the release); 0: never again.
        warmup_repeat: critic updates then.
        kwargs: see AdversarialLoss.

    Raises:
        ValueError: a negative warm-up, or one without updates.
    """

    labelled = False

    def __init__(
        self, repeat: int = 5, warmup: int = 0, warmup_every: int = 0, warmup_repeat: int = 100, **kwargs: Any
    ) -> None:
        super().__init__(repeat, **kwargs)
        if min(warmup, warmup_every) < 0 or warmup_repeat < 1:
            raise ValueError(
                f"warmup={warmup} and warmup_every={warmup_every} must be 0 or more, "
                f"warmup_repeat={warmup_repeat} 1 or more"
            )
        self.warmup, self.warmup_every, self.warmup_repeat = warmup, warmup_every, warmup_repeat

    def phases(self, model: Adversarial) -> list[Phase]:
        critic, generator = super().phases(model)
        if self.warmup or self.warmup_every:
            critic = critic._replace(repeat=self._updates)
        return [critic, generator]

    def _updates(self, turn: int) -> int:
        again = self.warmup_every and turn % self.warmup_every == 0
        return self.warmup_repeat if turn < self.warmup or again else self.repeat

    def on_real(self, score: Tensor) -> Tensor:
        return -score

    def on_fake(self, score: Tensor) -> Tensor:
        return score

    def on_generated(self, score: Tensor) -> Tensor:
        return -score

    def verdicts(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        return {"distance": real.mean() - fake.mean()}
