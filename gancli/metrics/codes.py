"""How many codes a model with maps of codes uses, over all images of the split, and what they cost its prior.

gancli eval ckpt=latest 'metrics=[perplexity,code_nats]'
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from gancli.metrics.base import MODEL, Batch, Metric, Statistics
from gancli.metrics.latent import Sums

LEVELS = ("", "_top", "_bottom")  # the ends of names: of a single map of codes, and of each of two


class Counts(Sums):
    """How often each code occurs, map after map."""

    asks = "codes"
    asked_of = "a model with maps of codes, such as model=vqvae"
    maps: Mapping[str, int]

    def add(self, batch: Batch) -> None:
        super().add(batch)
        assert batch.likelihood is not None, "the set MODEL has one"
        self.maps = batch.likelihood.maps or {"": self.total.numel()}


class Nats(Counts):
    """-log p of each map of codes."""

    asks = "code_nats"

    @staticmethod
    def columns(said: Tensor) -> Tensor:
        return torch.cat([said, said.sum(1, keepdim=True)], 1)


class Perplexity(Metric):
    """The exponential of the entropy of the frequencies of all codes: the number of codes that are used, effectively.

    It depends on the number of images, of which this takes all; that of a batch, which training logs, is lower. Neither
    more nor less is better: codes that say more cost the prior more. Two maps of codes have values of their own.
    """

    name, least = "perplexity", 1
    needs = {MODEL: (Counts,)}
    values = {f"{key}{level}": None for level in LEVELS for key in ("perplexity", "codes_used", "codes")}

    def __call__(self, sets: Mapping[str, Statistics]) -> dict[str, float]:
        """Return the perplexity, the number of codes that occur at all, and how many there are, of each map."""
        seen: Counts = sets[MODEL][Counts]
        found: dict[str, float] = {}
        for name, counts in zip(seen.maps, seen.total.split([*seen.maps.values()])):
            level = f"_{name}" if name else ""
            entropy = torch.special.entr(counts / counts.sum()).sum()
            found[f"perplexity{level}"] = entropy.exp().item()
            found[f"codes_used{level}"] = float((counts > 0).sum())
            found[f"codes{level}"] = float(counts.numel())
        return found


class CodeNats(Metric):
    """What the codes of an image cost by the model's prior, the KL of ``metrics=[elbo]``, in nats.

    Of two maps of codes, what each costs: the top, and the bottom given the top.
    """

    name, least = "code_nats", 1
    needs = {MODEL: (Nats,)}
    values = {"code_nats": False, "code_nats_se": None, "code_nats_top": None, "code_nats_bottom": None}

    def __call__(self, sets: Mapping[str, Statistics]) -> dict[str, float]:
        """Return the mean over images of the sum of all maps, its standard error, and, of two maps, each mean."""
        seen: Nats = sets[MODEL][Nats]
        *maps, whole = seen.mean().tolist()
        found = {"code_nats": whole, "code_nats_se": seen.errors()[-1].item()}
        if len(maps) > 1:
            found |= {f"code_nats_{name}": each for name, each in zip(seen.maps, maps)}
        return found
