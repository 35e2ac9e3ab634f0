"""Scores of latent-variable models: lower bounds of log p of the real images, and how many latents are used.

Both bounds are negative numbers of nats per image, means over all images of the split, and no likelihoods: they have
columns of their own (``elbo``, ``iwae``), apart from those of exact values. Of data that is dequantised they bound the
log-density on [0, 1]^D; ``metrics=[nll]`` gives ``bits_per_dim_bound``, which compares across kinds of data.

gancli eval ckpt=latest 'metrics=[elbo,iwae,active_units]' k=500
"""

import math
from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor

from gancli.metrics.base import MODEL, Batch, Metric, SetInfo, Statistic, Statistics
from gancli.models.latent import ACTIVE


class Sums(Statistic):
    """Sums over images of what a model says of each, and of the squares, in float64: (columns,) each."""

    network = False

    def __init__(self, device: torch.device) -> None:
        self.n = 0
        self.total = self.square = torch.zeros((), dtype=torch.float64, device=device)
        self.k = 0

    @classmethod
    def of(cls, about: SetInfo) -> Self:
        return cls(about.device)

    def add(self, batch: Batch) -> None:
        assert batch.likelihood is not None, "the set MODEL has one"
        values = self.columns(batch.also[self.asks].double())
        self.n, self.k = self.n + len(values), batch.likelihood.k
        self.total, self.square = self.total + values.sum(0), self.square + values.square().sum(0)

    @staticmethod
    def columns(said: Tensor) -> Tensor:
        """Return what is summed, (N, columns), of what the model says."""
        return said

    def mean(self) -> Tensor:
        """Return the means, (columns,)."""
        return self.total / self.n

    def variance(self) -> Tensor:
        """Return the variances over the images, without Bessel's correction, (columns,)."""
        return (self.square / self.n - self.mean().square()).clamp(min=0)

    def errors(self) -> Tensor:
        """Return the standard errors of the means, (columns,); NaN for a single image."""
        return (self.variance() / (self.n - 1)).sqrt() if self.n > 1 else torch.full_like(self.total, math.nan)


class Parts(Sums):
    """Reconstruction, KL and their negative sum."""

    asks = "elbo"
    asked_of = f"{Sums.asked_of}, with a likelihood of pixels"  # vae_gan and vqgan have none

    @staticmethod
    def columns(said: Tensor) -> Tensor:
        return torch.cat([said, -said.sum(1, keepdim=True)], 1)


class Weighted(Sums):
    """The importance-weighted bound."""

    asks = "iwae"
    asked_of = f"{Parts.asked_of} and codes that are drawn"

    @staticmethod
    def columns(said: Tensor) -> Tensor:
        return said[:, None]


class Latents(Sums):
    """Posterior means."""

    asks = "latents"
    asked_of = f"{Sums.asked_of}, whose codes are drawn"


class ELBO(Metric):
    """The evidence lower bound with one code per image (Kingma & Welling 2014, eq. 3), and its two parts in nats."""

    name, least = "elbo", 1
    needs = {MODEL: (Parts,)}
    values = {"elbo": True, "elbo_se": None, "reconstruction": False, "kl": None}

    def __call__(self, sets: Mapping[str, Statistics]) -> dict[str, float]:
        """Return the mean, its standard error over images, -E log p(x|z), and KL(q(z|x) || p(z))."""
        seen: Parts = sets[MODEL][Parts]
        reconstruction, kl, elbo = seen.mean().tolist()
        return {"elbo": elbo, "elbo_se": seen.errors()[2].item(), "reconstruction": reconstruction, "kl": kl}


class IWAE(Metric):
    """The importance-weighted bound with k codes per image (Burda et al. 2016, eq. 8), and k itself."""

    name, least = "iwae", 1
    needs = {MODEL: (Weighted,)}
    values = {"iwae": True, "iwae_se": None, "iwae_k": None}

    def __call__(self, sets: Mapping[str, Statistics]) -> dict[str, float]:
        """Return the mean, its standard error over images, and k: bounds of different k are not comparable."""
        seen: Weighted = sets[MODEL][Weighted]
        return {"iwae": seen.mean().item(), "iwae_se": seen.errors().item(), "iwae_k": float(seen.k)}


class ActiveUnits(Metric):
    """The number of latents whose posterior mean varies over images by more than 0.01 (Burda et al. 2016, sec. 5.2)."""

    name = "active_units"
    needs = {MODEL: (Latents,)}
    values = {"active_units": None, "latents": None}
    constants = {"active_units_threshold": ACTIVE}

    def __call__(self, sets: Mapping[str, Statistics]) -> dict[str, float]:
        """Return how many latents are active, and how many there are."""
        variance = sets[MODEL][Latents].variance()
        active = variance > ACTIVE
        return {"active_units": float(active.sum()), "latents": float(active.numel())}
