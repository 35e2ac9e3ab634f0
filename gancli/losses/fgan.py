"""f-GAN: Nowozin, Cseke & Tomioka 2016, Training Generative Neural Samplers using Variational Divergence Minimization.

The discriminator maximises E_P[T] - E_Q[f*(T)] <= D_f(P||Q) = E_Q[f(p/q)], with T = g_f(V) for its score V. g_f and
f* o g_f are implemented directly, since the composition is stable where f* alone overflows. Deviation: all six
activations increase in V, so that a large score always means real.

    gancli train model=dcgan loss=fgan loss.divergence=pearson
"""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from gancli.losses.game import AdversarialLoss

LOG2 = math.log(2)


class Divergence(NamedTuple):
    """One row of the paper's tables, as functions of the score v."""

    activation: Callable[[Tensor], Tensor]  # T = g_f(v)
    conjugate: Callable[[Tensor], Tensor]  # f*(g_f(v))
    threshold: float  # the score where T = f'(1): p = q


DIVERGENCES = {
    "kl": Divergence(lambda v: v, lambda v: torch.exp(v - 1), 1.0),
    "reverse_kl": Divergence(lambda v: -torch.exp(-v), lambda v: v - 1, 0.0),
    "pearson": Divergence(lambda v: v, lambda v: v.square() / 4 + v, 0.0),
    "squared_hellinger": Divergence(lambda v: -torch.expm1(-v), torch.expm1, 0.0),
    "jensen_shannon": Divergence(lambda v: LOG2 - softplus(-v), lambda v: softplus(v) - LOG2, 0.0),  # 2 JSD
    "gan": Divergence(lambda v: -softplus(-v), softplus, 0.0),  # 2 JSD - log 4
}


class FGAN(AdversarialLoss):
    """The variational bound of an f-divergence.

    With ``kl``, ``reverse_kl`` and ``squared_hellinger``, one of the two terms grows exponentially in the score;
    ``penalty=gradient_penalty`` or ``clip=1`` keeps the discriminator finite.

    Args:
        divergence: f.
        generator: ``literal`` minimises -E_Q[f*(T)], as in the objective; ``alternative`` maximises E_Q[T], which does
            not saturate (their section 3.2).
        kwargs: see AdversarialLoss.
    """

    labelled = False

    def __init__(
        self,
        divergence: Literal["kl", "reverse_kl", "pearson", "squared_hellinger", "jensen_shannon", "gan"] = "gan",
        generator: Literal["literal", "alternative"] = "alternative",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.f, self.generator = DIVERGENCES[divergence], generator
        self.threshold = self.f.threshold

    def on_real(self, score: Tensor) -> Tensor:
        return -self.f.activation(score)

    def on_fake(self, score: Tensor) -> Tensor:
        return self.f.conjugate(score)

    def on_generated(self, score: Tensor) -> Tensor:
        return -self.f.conjugate(score) if self.generator == "literal" else -self.f.activation(score)

    def discriminator_loss(
        self, real: Tensor, fake: Tensor, labels: tuple[Tensor, Tensor] | None = None
    ) -> dict[str, Tensor]:
        losses = super().discriminator_loss(real, fake, labels)
        return losses | {"bound": -(losses["real"] + losses["fake"]).detach()}
