"""How many codes a model with a map of codes uses, over all images of the split.

gancli eval ckpt=latest 'metrics=[perplexity]'
"""

from collections.abc import Mapping

import torch

from gancli.metrics.base import MODEL, Metric, Statistics
from gancli.metrics.latent import Sums


class Counts(Sums):
    """How often each code occurs."""

    asks = "codes"
    asked_of = "a model with maps of codes, such as model=vqvae"


class Perplexity(Metric):
    """The exponential of the entropy of the frequencies of all codes: the number of codes that are used, effectively.

    It depends on the number of images, of which this takes all; that of a batch, which training logs, is lower. Neither
    more nor less is better: codes that say more cost the prior more.
    """

    name, least = "perplexity", 1
    needs = {MODEL: (Counts,)}
    values = {"perplexity": None, "codes_used": None, "codes": None}

    def __call__(self, sets: Mapping[str, Statistics]) -> dict[str, float]:
        """Return the perplexity, the number of codes that occur at all, and how many there are."""
        counts = sets[MODEL][Counts].total
        entropy = torch.special.entr(counts / counts.sum()).sum()
        return {
            "perplexity": entropy.exp().item(), "codes_used": float((counts > 0).sum()), "codes": float(counts.numel()),
        }  # fmt: skip
