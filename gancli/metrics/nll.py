"""Negative log-likelihood of the real images: every image counts once, the last partial batch included.

Kinds which are different quantities and have different columns: ``nll`` of an exact probability of the pixels' levels,
``nll_density`` of a density on [0, 1]^D, and (``parzen.py``) the Parzen estimate, which is none of the model. Where
the density was asked about levels plus uniform noise, it bounds their probability: ``bits_per_dim_bound``.
"""

import math
from collections.abc import Mapping
from typing import Self

import torch

from gancli.metrics.base import MODEL, Batch, Metric, SetInfo, Statistic, Statistics


class Nats(Statistic):
    """Sums over images of -log p(x), in float64: the same whatever the batch size and the images' order."""

    network = False

    def __init__(self, about: SetInfo) -> None:
        self.n, self.density, self.spread = 0, False, 0
        self.pixels = 0  # of an image, every colour one
        self.total = self.square = torch.zeros((), dtype=torch.float64, device=about.device)
        self.finite = torch.zeros((), dtype=torch.int64, device=about.device)

    @classmethod
    def of(cls, about: SetInfo) -> Self:
        return cls(about)

    def add(self, batch: Batch) -> None:
        values = batch.nats.double()
        possible = values != math.inf  # NaN stays, and shows
        kept = torch.where(possible, values, 0.0)
        self.total, self.square = self.total + kept.sum(), self.square + kept.square().sum()
        self.finite = self.finite + possible.sum()
        self.n, self.pixels = self.n + len(values), batch.pixels[0].numel()
        self.density, self.spread = batch.density, batch.spread


class NLL(Metric):
    """Mean over the images of finite likelihood, its standard error, and the share of images of likelihood zero."""

    name, least = "nll", 1
    needs = {MODEL: (Nats,)}
    values = {
        "nll": False, "nll_density": False, "bits_per_dim": False, "bits_per_dim_bound": False,
        "nll_se": None, "impossible": None,
    }  # fmt: skip

    def __call__(self, sets: Mapping[str, Statistics]) -> dict[str, float]:
        """Return ``nll`` in nats per image and ``bits_per_dim``, or ``nll_density``, which has no bits of its own.

        Of dequantised data also ``bits_per_dim_bound``: a level's share of [0, 1] is 1 / levels wide, and the mean log
        density there is at most the log of the mean (Jensen), which is levels times the level's probability.
        ``impossible`` is the share of images of likelihood zero, which the mean leaves out and would hide.
        """
        seen: Nats = sets[MODEL][Nats]
        n = int(seen.finite)
        mean = float(seen.total) / n if n else math.inf
        spread = max(float(seen.square) / n - mean**2, 0.0) * n / (n - 1) if n > 1 else math.nan
        rest = {"nll_se": math.sqrt(spread / n) if n > 1 else math.nan, "impossible": 1 - n / seen.n}
        if seen.spread:
            bits = (mean / seen.pixels + math.log(seen.spread)) / math.log(2)
            rest = {"bits_per_dim_bound": bits if n == seen.n else math.inf, **rest}
        if seen.density:
            return {"nll_density": mean, **rest}
        return {"nll": mean, "bits_per_dim": mean / (math.log(2) * seen.pixels), **rest}
