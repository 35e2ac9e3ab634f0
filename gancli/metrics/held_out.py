"""What the metrics may ask a model that knows the probability of an image."""

import torch
from torch import Tensor

from gancli.data.spec import dequantised
from gancli.metrics.base import Likelihood
from gancli.models.base import Model
from gancli.models.explicit import Explicit


def likelihood_of(model: Model) -> Likelihood | None:
    """Return what the metrics may ask a model that knows the probability of an image; None if it does not."""
    if not isinstance(model, Explicit):
        return None
    levels = model.spec.levels
    if not model.spec.dequantised:
        return Likelihood(lambda image, label: -model.log_prob(image, label), model.density, levels)
    noise = torch.Generator(model.device).manual_seed(0)  # the same for every model that is asked

    def nats(image: Tensor, label: Tensor | None) -> Tensor:
        return -model.log_prob(dequantised(image, levels, noise), label)

    return Likelihood(nats, model.density, levels, spread=levels)
