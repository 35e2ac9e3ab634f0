"""Maximum likelihood: the negative log-likelihood of the images, in nats per image and bits per dimension."""

import math

from torch import Tensor

from gancli.data.spec import Batch
from gancli.losses.base import Loss, Phase, Term
from gancli.models.explicit import Explicit


class NLL(Loss):
    """Minimise E[-log p(x)], in nats per image, over the model's ``sampled`` networks.

    A model without networks, such as a kernel density estimate, is fitted once by fit_data() and has no phases.
    """

    family = Explicit

    def phases(self, model: Explicit) -> list[Phase]:
        return [Phase("nll", model.sampled, (Term(self.term),))] if model.sampled else []

    def term(self, model: Explicit, batch: Batch) -> dict[str, Tensor]:
        nats = model.training_nats(batch.image, batch.label).mean()
        return {"nats": nats, "bits_per_dim": nats.detach() / (math.log(2) * batch.image[0].numel())}

    def nats(self, model: Explicit, batch: Batch) -> Tensor:
        return -model.log_prob(batch.image, batch.label)
