"""Adversarial losses as functions of the discriminator's logits, in forms that neither overflow nor cancel.

With D = sigmoid(s): -log D(x) = softplus(-s(x)) and -log(1 - D(x)) = softplus(s(x)).

    gancli train model=dcgan loss=hinge 'penalty=[r1,drift]' stabilizer=instance_noise
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import relu, softplus
from torch.nn.utils.parametrize import is_parametrized

from gancli.losses.base import Moment, Phase
from gancli.losses.game import AdversarialLoss
from gancli.models.base import Adversarial
from gancli.ranges import Positive, Signed

UNBOUNDED = (
    "loss=wasserstein and nothing that bounds the critic's slope: the loss has no limit and estimates no distance "
    "(Arjovsky et al. 2017, section 3); add penalty=gradient_penalty or penalty=weight_clipping, or choose a model "
    "with spectral normalisation, such as model=sngan"
)


def verdicts(real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """Statistics of the discriminator: mean D(real), mean D(fake), accuracy; logits (N,) -> scalars."""
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
    """Mao et al. 2017, Least Squares Generative Adversarial Networks (each square halved).

    Args:
        a: the discriminator's target for generated images.
        b: its target for real images.
        c: the generator's target for the discriminator's output.
        kwargs: see AdversarialLoss.
    """

    halved = True

    def __init__(self, a: Signed = 0.0, b: Signed = 1.0, c: Signed = 1.0, **kwargs: Any) -> None:
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
    """The hinge loss in the form of Miyato et al. 2018, Spectral Normalization for GANs."""

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
        warmup: number of initial generator updates with ``warmup_repeat`` critic updates each (25 in the release).
        warmup_every: repeat this at every such generator update (500 in the release); 0 for never.
        warmup_repeat: critic updates per generator update during the warm-up.
        kwargs: see AdversarialLoss.
    """

    labelled = False
    calibrated = False

    def __init__(
        self, repeat: Positive = 5, warmup: int = 0, warmup_every: int = 0, warmup_repeat: Positive = 100, **kwargs: Any
    ) -> None:
        super().__init__(repeat=repeat, **kwargs)
        self.warmup, self.warmup_every, self.warmup_repeat = warmup, warmup_every, warmup_repeat

    def phases(self, model: Adversarial) -> list[Phase]:
        critic, generator = super().phases(model)
        if self.warmup or self.warmup_every:
            critic = critic._replace(repeat=self._updates)
        return [critic, generator]

    def contradictions(self, critic: nn.Module, settings: Mapping[str, Any]) -> list[str]:
        told = super().contradictions(critic, settings)
        if any(each.bounding for each in self.penalties.values()) or any(map(is_parametrized, critic.modules())):
            return told
        return [*told, UNBOUNDED]

    def _updates(self, moment: Moment) -> int:
        again = self.warmup_every and moment.turn % self.warmup_every == 0
        return self.warmup_repeat if moment.turn < self.warmup or again else self.repeat

    def on_real(self, score: Tensor) -> Tensor:
        return -score

    def on_fake(self, score: Tensor) -> Tensor:
        return score

    def on_generated(self, score: Tensor) -> Tensor:
        return -score

    def verdicts(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        return {"distance": real.mean() - fake.mean()}
