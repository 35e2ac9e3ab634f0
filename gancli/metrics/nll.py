"""Negative log-likelihood of the real images: every image counts once, including the last partial batch.

The model says which kind of number it is (``models.held_out.HeldOut``), and each kind has its own name: ``nll`` for an
exact probability of the pixels' levels, ``nll_density`` for a density on [0, 1]^D, ``nll_bound`` for an upper bound.
The Parzen estimate (``parzen.py``) is none of them, since it only uses the model's samples.
"""

import math
from collections.abc import Mapping
from typing import Self

import torch

from gancli.metrics.base import MODEL, Batch, Metric, SetInfo, Statistic, Statistics
from gancli.models.held_out import HeldOut


class Nats(Statistic):
    """Sums over images of -log p(x), in float64, independent of the batch size and the images' order."""

    network = False

    def __init__(self, about: SetInfo) -> None:
        self.n = 0
        self.likelihood: HeldOut | None = None
        self.pixels = 0  # per image, counting every colour
        self.total = self.square = torch.zeros((), dtype=torch.float64, device=about.device)
        self.finite = torch.zeros((), dtype=torch.int64, device=about.device)

    @classmethod
    def of(cls, about: SetInfo) -> Self:
        return cls(about)

    def add(self, batch: Batch) -> None:
        assert batch.nats is not None, "the set MODEL has nats"
        values = batch.nats.double()
        possible = values != math.inf  # NaN is kept, so that it shows
        kept = torch.where(possible, values, 0.0)
        self.total, self.square = self.total + kept.sum(), self.square + kept.square().sum()
        self.finite = self.finite + possible.sum()
        self.n, self.pixels = self.n + len(values), batch.pixels[0].numel()
        self.likelihood = batch.likelihood


class NLL(Metric):
    """Mean over images of nonzero likelihood, its standard error, and the share of images of likelihood zero."""

    name, least = "nll", 1
    needs = {MODEL: (Nats,)}
    values = {
        "nll": False, "nll_density": False, "nll_bound": False, "bits_per_dim": False, "bits_per_dim_bound": False,
        "nll_se": None, "impossible": None,
    }  # fmt: skip

    def __call__(self, sets: Mapping[str, Statistics]) -> dict[str, float]:
        """Return the mean in nats per image, and bits per dimension if a probability of levels is known or bounded.

        A density of levels plus uniform noise bounds the probability of the levels: a level's interval of [0, 1] is
        1 / levels wide, and the mean log density there is at most the log of the mean density (Jensen), which is levels
        times the level's probability. ``impossible`` is the share of images of likelihood zero, which the mean leaves
        out.
        """
        seen: Nats = sets[MODEL][Nats]
        n, of = int(seen.finite), seen.likelihood
        assert of is not None, "the real images have been read"
        mean = float(seen.total) / n if n else math.inf
        variance = max(float(seen.square) / n - mean**2, 0.0) * n / (n - 1) if n > 1 else math.nan
        rest = {"nll_se": math.sqrt(variance / n) if n > 1 else math.nan, "impossible": 1 - n / seen.n}
        if of.kind == "exact":
            return {"nll": mean, "bits_per_dim": mean / (math.log(2) * seen.pixels), **rest}
        if of.spread or of.kind == "bound":
            bits = (mean / seen.pixels + math.log(of.spread or 1)) / math.log(2)
            rest = {"bits_per_dim_bound": bits if n == seen.n else math.inf, **rest}
        return {f"nll_{of.kind}": mean, **rest}
