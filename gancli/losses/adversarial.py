"""Adversarial losses as functions of the discriminator's logits, in forms that neither overflow nor cancel.

With D = sigmoid(s): -log D(x) = softplus(-s(x)) and -log(1 - D(x)) = softplus(s(x)).
"""

from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn.functional import softplus

from gancli.data.spec import Batch
from gancli.losses.base import Loss, Phase, Term
from gancli.models.base import Adversarial


class AdversarialLoss(Loss):
    """Two players: the discriminator's update, ``repeat`` times, then the generator's.

    Args:
        repeat: discriminator updates per generator update, each with fresh images and latents.

    Raises:
        ValueError: a repeat below 1.
    """

    family = Adversarial

    def __init__(self, repeat: int = 1) -> None:
        super().__init__()
        if repeat < 1:
            raise ValueError(f"repeat={repeat} must be 1 or more")
        self.repeat = repeat

    @abstractmethod
    def discriminator_loss(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Return named scalars to minimise, given the logits of real and generated images, (N,) each."""

    @abstractmethod
    def generator_loss(self, fake: Tensor) -> dict[str, Tensor]:
        """Return named scalars to minimise, given the logits of generated images, (N,)."""

    def phases(self, model: Adversarial) -> list[Phase]:
        return [
            Phase("discriminator", ("discriminator",), (Term(self.discriminator_term),), self.repeat),
            Phase("generator", ("generator",), (Term(self.generator_term),)),
        ]

    def discriminator_term(self, model: Adversarial, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():  # this step changes the discriminator alone
            fake = model.generate(model.latent(len(batch.image)), batch.label)
        # Two forwards, not one on the concatenation: batch norm must not see real and fake images mixed (DCGAN).
        s_real, s_fake = model.score(batch.image, batch.label), model.score(fake, batch.label)
        return self.discriminator_loss(s_real, s_fake) | verdicts(s_real.detach(), s_fake.detach())

    def generator_term(self, model: Adversarial, batch: Batch) -> dict[str, Tensor]:
        fake = model.generate(model.latent(len(batch.image)), batch.label)
        return self.generator_loss(model.score(fake, batch.label))


def verdicts(real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """Statistics of the discriminator: mean D(real), mean D(fake), share of right answers; logits (N,) -> scalars."""
    right = (real > 0).float().mean() + (fake <= 0).float().mean()
    return {"D(real)": real.sigmoid().mean(), "D(fake)": fake.sigmoid().mean(), "accuracy": right / 2}


class Minimax(AdversarialLoss):
    """The minimax game of Goodfellow et al. 2014, eq. 1: the generator minimises E log(1 - D(G(z))).

    It saturates: where D rejects the fakes, the generator's gradient vanishes (their section 3).
    """

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        return {"real": softplus(-real).mean(), "fake": softplus(fake).mean()}

    def generator_loss(self, fake: Tensor) -> dict[str, Tensor]:
        return {"saturating": -softplus(fake).mean()}


class NonSaturating(Minimax):
    """Goodfellow et al. 2014, section 3: the generator maximises E log D(G(z)) instead; the same fixed point."""

    def generator_loss(self, fake: Tensor) -> dict[str, Tensor]:
        return {"nonsaturating": softplus(-fake).mean()}
