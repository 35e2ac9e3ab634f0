"""Relativistic GANs: Jolicoeur-Martineau 2018, The Relativistic Discriminator: a Key Element Missing from Standard GAN.

The discriminator estimates how much more real an image is than one of the other kind (RSGAN) or than the mean score of
the other kind (the average losses, Ra). The generator's loss depends on real images, too. Gradients pass through the
means, and the average losses are halved, as in the author's release. Means are over the batches of all processes.

    gancli train model=dcgan loss=relativistic loss.variant=rahinge
"""

from collections.abc import Callable
from typing import Any, Literal

from torch import Tensor
from torch.nn.functional import relu, softplus

from gancli.losses.game import AdversarialLoss
from gancli.nn.ranks import mean

# The cost of a difference of scores that should be large; for one that should be small, the sign is flipped.
COSTS: dict[str, Callable[[Tensor], Tensor]] = {
    "rsgan": lambda d: softplus(-d),
    "rasgan": lambda d: softplus(-d) / 2,
    "ralsgan": lambda d: (d - 1).square() / 2,
    "rahinge": lambda d: relu(1 - d) / 2,
}


class Relativistic(AdversarialLoss):
    """RSGAN, RaSGAN, RaLSGAN and RaHinge.

    Args:
        variant: ``rsgan`` compares pairs; the others compare with the mean score of the other kind.
        kwargs: see AdversarialLoss.

    Raises:
        ValueError: the variant compares pairs, and there are more generated images than real ones.
    """

    calibrated = False

    def __init__(self, variant: Literal["rsgan", "rasgan", "ralsgan", "rahinge"] = "rasgan", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cost, self.paired = COSTS[variant], variant == "rsgan"
        if self.paired and self.generator_batch > 1:
            raise ValueError(
                f"generator_batch={self.generator_batch} must be 1: rsgan compares each real image with a generated one"
            )

    def on_real(self, score: Tensor) -> Tensor:
        return self.cost(score)

    def on_fake(self, score: Tensor) -> Tensor:
        return self.cost(-score)

    def on_generated(self, score: Tensor) -> Tensor:
        return self.cost(score)

    def discriminator_loss(
        self, real: Tensor, fake: Tensor, labels: tuple[Tensor, Tensor] | None = None
    ) -> dict[str, Tensor]:
        if not self.paired:
            return super().discriminator_loss(real - mean(fake.mean()), fake - mean(real.mean()), labels)
        ahead = real - fake
        return {"pair": (self.on_real(ahead) if labels is None else self._labelled(ahead, labels[0])).mean()}

    def generator_pays(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        return self.pair_loss(real, fake)

    def pair_loss(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Return the generator's loss: the discriminator's loss with real and generated images exchanged."""
        if self.paired:
            return {"pair": self.on_generated(fake - real).mean()}
        behind = self.on_fake(real - mean(fake.mean())).mean()
        return {"real": behind, "fake": self.on_generated(fake - mean(real.mean())).mean()}

    def verdicts(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        right = (real > mean(fake.mean())).float().mean() + (fake <= mean(real.mean())).float().mean()
        return {"score(real)": real.mean(), "score(fake)": fake.mean(), "accuracy": right / 2}

    def generator_loss(self, fake: Tensor, real: Callable[[], Tensor] | None = None) -> dict[str, Tensor]:
        if real is None:
            raise ValueError("relativistic losses also need the scores of real images")
        return self.pair_loss(real(), fake)
