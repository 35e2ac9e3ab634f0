"""Bounds of the likelihood of latent-variable models, in nats per image: the ELBO and its importance-weighted form.

- ELBO (Kingma & Welling 2014, eq. 3): E_q[-log p(x|z)] + beta KL(q(z|x) || p(z)). Both parts are sums over pixels and
  latents, and means over images; ``beta`` (Higgins et al. 2017) is the only weight there is. Above 1 this still bounds
  -log p(x), more loosely; below 1 it bounds nothing.
- IWAE (Burda et al. 2016, eq. 8): -log 1/k sum_i p(x, z_i) / q(z_i|x), with k codes of each image.

    gancli train model=vae data=mnist loss.samples=5 loss.bound=iwae
    gancli train model=vae data=mnist 'loss.beta={from: 0, to: 1, until: 0.1}' loss.free_bits=0.1
"""

import math
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, Literal

from torch import Generator, Tensor

from gancli.data.spec import Batch
from gancli.errors import UsageError
from gancli.losses.base import Loss, Phase, Term
from gancli.models.latent import LatentVariable, Posterior, active, log_weights
from gancli.nn import ranks
from gancli.nn.annealed import Annealed, bounds, value
from gancli.ranges import Positive

SHOWN = 64  # groups of latents whose KL is measured one by one
CODES = 16  # of each image that the doctor looks at: with one, chance moves 64 images by half a nat


class ELBO(Loss):
    """Minimise a bound of -log p(x), in nats per image, over the model's ``sampled`` networks.

    Args:
        beta: weight of the KL; ``{from: 0, to: 1, until: 0.1}`` is a warm-up over a tenth of the run.
        free_bits: nats of each group of latents that cost nothing, on average over a batch (Kingma et al. 2016,
            Improving Variational Inference with Inverse Autoregressive Flow).
        samples: codes of each image.
        bound: elbo, with the mean of the reconstructions of all codes; or iwae.

    Raises:
        ValueError: the importance-weighted bound is given a beta or free bits, which it has no KL for.
    """

    family = LatentVariable

    def __init__(
        self,
        beta: float | Annealed = 1.0,
        free_bits: float = 0.0,
        samples: Positive = 1,
        bound: Literal["elbo", "iwae"] = "elbo",
    ) -> None:
        super().__init__()
        if bound == "iwae" and (bounds(beta) != (1.0, 1.0) or free_bits):
            raise ValueError("bound=iwae has no KL to weigh: set beta=1 and free_bits=0, or bound=elbo")
        self.beta, self.free_bits, self.samples, self.bound = beta, free_bits, samples, bound

    def phases(self, model: LatentVariable) -> list[Phase]:
        return [Phase("elbo", model.sampled, (Term(self.term),))]

    def check(self, model: LatentVariable) -> None:
        if model.certain:
            raise UsageError(f"loss=elbo: {type(model).__name__} learns its codes, then their prior; omit loss=")
        if not model.bounded:
            raise UsageError(
                f"loss=elbo: {type(model).__name__} has no likelihood of pixels, so no bound of it; omit loss="
            )
        if self.free_bits and not model.groups:
            raise UsageError(f"loss.free_bits={self.free_bits}: {type(model).__name__} has no KL; set it to 0")

    def warnings(self, model: LatentVariable, settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
        last = self.beta.final if isinstance(self.beta, Annealed) else self.beta
        if last >= 1:
            return []
        return [
            f"loss.beta={last} at the end: below 1 the loss bounds no likelihood (Higgins et al. 2017 use 1 and more)"
        ]

    def term(self, model: LatentVariable, batch: Batch) -> dict[str, Tensor]:
        posterior = model.encode(batch.image, batch.label, self.samples)
        nats = model.reconstruction(posterior.z, batch.image, batch.label, self.samples)  # (k, N)
        reconstruction, kl = nats.mean(), posterior.cost.mean()
        told = {"kl": kl.detach(), "bound": (reconstruction + kl).detach()}
        if self.bound == "iwae":
            weights = log_weights(posterior, nats)
            iwae = -(weights.logsumexp(0) - math.log(len(weights))).mean()
            return {"iwae": iwae, "reconstruction": reconstruction.detach(), **told}
        weighted = value(self.beta, batch.progress) * self._counted(posterior)
        return {"reconstruction": reconstruction, "weighted_kl": weighted, **told}

    def _counted(self, posterior: Posterior) -> Tensor:
        """Return the mean cost of a code, with every group that is cheaper than the free bits at that price."""
        if not self.free_bits:
            return posterior.cost.mean()
        return ranks.mean(posterior.stats["groups"].mean(0)).clamp(min=self.free_bits).sum()

    def nats(self, model: LatentVariable, batch: Batch) -> Tensor:
        """Return the negative ELBO, the mean over CODES codes that come from a seed, so that examinations compare."""
        codes = Generator(batch.image.device).manual_seed(0)
        posterior = model.encode(batch.image, batch.label, CODES, codes)
        return model.reconstruction(posterior.z, batch.image, batch.label, CODES).mean(0) + posterior.cost

    def measurements(self, model: LatentVariable, batch: Batch) -> dict[str, Callable[[], Tensor]]:
        """Return the KL, the KL of each group, and the number of active units of the images of the batch."""
        return of_latents(model, batch)


def of_latents(model: LatentVariable, batch: Batch) -> dict[str, Callable[[], Tensor]]:
    """Return the KL of images' codes, that of each group of latents, and the number of active ones, to be measured."""
    if not model.groups:
        return {}
    posterior = cache(lambda: model.encode(batch.image, batch.label))

    def group(i: int) -> Tensor:
        return posterior().stats["groups"][:, i].mean()

    return {
        "kl": lambda: posterior().cost.mean(),
        "active_units": lambda: active(posterior().stats["mean"]).sum(),
        **{f"kl_{i:02d}": partial(group, i) for i in range(min(model.groups, SHOWN))},
    }
