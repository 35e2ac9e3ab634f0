"""The two stages of a discrete VAE: Ramesh et al. 2021, Zero-Shot Text-to-Image Generation, section 2.1.

The first minimises -log p(x|y) + beta KL(q(z|x) || uniform) in nats per image, where y is a Gumbel-softmax relaxation
of a draw from q at a temperature ``tau`` that falls over the run, and the KL is that of the codes themselves, log K
minus the entropy of each position. With relaxed codes this bounds nothing: what is reported as a bound uses hard ones.
The second stage is that of a VQ-VAE. Schedules are shares of the run, where the authors' are numbers of updates.

    gancli train model=dvae data=mnist 'loss.tau={from: 1, to: 0.1, until: 0.3}'
"""

import math
from collections.abc import Callable

from torch import Tensor

from gancli.data.spec import Batch
from gancli.errors import UsageError
from gancli.losses.base import Phase, Term
from gancli.losses.vqvae import TwoStages
from gancli.models.discrete import DiscreteLatents
from gancli.models.dvae import DVAE, relaxed
from gancli.nn.annealed import Annealed, bounds, value
from gancli.nn.quantisers import perplexity, used


class DVAELoss(TwoStages):
    """Train the autoencoder on relaxed codes, then the prior on hard ones.

    Args:
        tau: temperature of the relaxation, above 0.
        beta: weight of the KL.

    Raises:
        UsageError: the temperature is 0 at some time.
    """

    family = DVAE

    def __init__(self, tau: float | Annealed = 1.0, beta: float | Annealed = 1.0) -> None:
        super().__init__()
        if bounds(tau)[0] <= 0:
            raise UsageError("loss.tau must be above 0: the lower, the harder are the codes")
        self.tau, self.beta = tau, beta

    def phases(self, model: DVAE) -> list[Phase]:
        return self.stages(model, Phase("autoencoder", ("encoder", "decoder"), (Term(self.autoencoder),)))

    def autoencoder(self, model: DVAE, batch: Batch) -> dict[str, Tensor]:
        logits = model.logits(batch.image)
        y = relaxed(logits, value(self.tau, batch.progress))
        kl = divergence(logits).mean()
        counts = used(logits.argmax(1), model.levels)
        return {
            "reconstruction": model.reconstruction(y, batch.image)[0].mean(),
            "weighted_kl": value(self.beta, batch.progress) * kl,
            "kl": kl.detach(), "perplexity": perplexity(counts), "codes_used": (counts > 0).float().mean(),
        }  # fmt: skip

    def measurements(self, model: DiscreteLatents, batch: Batch) -> dict[str, Callable[[], Tensor]]:
        """Return what is measured of a VQ-VAE, and reconstructions of two kinds of hard codes, in nats.

        The codes of ``drawn_reconstruction`` are the largest entries of relaxed ones, so that the two differ in the
        relaxation alone; those of ``hard_reconstruction`` are the most likely ones, without the noise of a draw.
        """
        assert isinstance(model, DVAE)

        def nats(index: Callable[[], Tensor]) -> Callable[[], Tensor]:
            return lambda: model.reconstruction(model.embed(index()), batch.image).mean()

        return {
            **super().measurements(model, batch),
            "drawn_reconstruction": nats(lambda: relaxed(model.logits(batch.image), 1.0).argmax(1)),
            "hard_reconstruction": nats(lambda: model.tokens(batch.image)),
        }


def divergence(logits: Tensor) -> Tensor:
    """Return KL(softmax(logits) || uniform), summed over positions: (N, K, h, w) -> (N,) nats."""
    log_q = logits.log_softmax(1)
    return ((log_q.exp() * log_q).sum(1) + math.log(logits.shape[1])).flatten(1).sum(1)
