"""AC-GAN's loss: Odena, Olah & Shlens 2017, Conditional Image Synthesis with Auxiliary Classifier GANs.

Besides the log-likelihood of the correct source, L_S, the loss has that of the correct class, L_C = E log P(C=c |
X_real) + E log P(C=c | X_fake). The discriminator maximises L_S + L_C and the generator L_C - L_S, with the generator's
part of L_S in its non-saturating form.

    gancli train model=acgan data=mnist
"""

from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from gancli.data.spec import Batch
from gancli.errors import UsageError
from gancli.losses.adversarial import NonSaturating
from gancli.losses.base import Phase
from gancli.models.base import Adversarial


class Classifying(Protocol):
    """What the loss requires of a model beyond Adversarial."""

    def judge(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores, (N,), and logits of the classes, (N, num_classes)."""
        ...


class ACGAN(NonSaturating):
    """The non-saturating loss with a classification of each image.

    Args:
        class_weight: weight of L_C in the discriminator's loss.
        generator_class_weight: weight of L_C in the generator's loss.
        kwargs: see AdversarialLoss.
    """

    shares = False

    def __init__(self, class_weight: float = 1.0, generator_class_weight: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.class_weight, self.generator_class_weight = class_weight, generator_class_weight

    def phases(self, model: Adversarial) -> list[Phase]:
        """See AdversarialLoss; the model's judge() returns scores, (N,), and logits of the classes, (N, K).

        Raises:
            UsageError: the model has no judge().
        """
        if not hasattr(model, "judge"):
            name = type(model).__name__
            raise UsageError(
                f"loss=acgan needs a discriminator that predicts classes, unlike {name}'s; use model=acgan"
            )
        return super().phases(model)

    def discriminator_term(self, model: Adversarial, batch: Batch) -> dict[str, Tensor]:
        target = model.target_labels(batch.label)
        assert batch.label is not None and target is not None  # the model is conditional
        fake = self.seen(self._generated(model, target, batch), batch)
        judge = cast(Classifying, model).judge
        s_real, c_real = judge(self.seen(batch.image, batch))
        s_fake, c_fake = judge(fake)
        losses = self.discriminator_loss(s_real, s_fake, self.labels(s_real, batch.progress))
        losses["class(real)"] = self.class_weight * cross_entropy(c_real, batch.label)
        losses["class(fake)"] = self.class_weight * cross_entropy(c_fake, target)
        right = {"named(real)": named(c_real, batch.label), "named(fake)": named(c_fake, target)}
        return losses | self.statistics(s_real.detach(), s_fake.detach()) | right

    def generator_term(self, model: Adversarial, batch: Batch) -> dict[str, Tensor]:
        fake, target = self.drawn(model, batch)
        assert target is not None  # the model is conditional
        score, classes = cast(Classifying, model).judge(fake)
        return self.generator_loss(score) | {"class": self.generator_class_weight * cross_entropy(classes, target)}


@torch.no_grad()
def named(logits: Tensor, label: Tensor) -> Tensor:
    """Return the share of images classified correctly; (N, classes), (N,) -> ()."""
    return (logits.argmax(1) == label).float().mean()
