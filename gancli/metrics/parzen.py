"""Parzen-window log-likelihood of test images, by the protocol of Goodfellow et al. 2014, arXiv 1406.2661, section 5.

The density is a mixture of Gaussians around the generated images, with the width that maximizes the likelihood of 1,000
validation images. It is not the likelihood of the model (Theis et al. 2016, arXiv 1511.01844) and serves only to
compare MLPs on MNIST and TFD with old tables. Images are quantized to 8 bits here, but not in the papers.
scikit-learn's KernelDensity is wrong in 784 dimensions.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gancli.errors import UsageError
from gancli.metrics.base import GENERATED, REAL, VALIDATION, Metric, Statistics
from gancli.metrics.features import Features, Images
from gancli.metrics.kept import KeptPixels
from gancli.metrics.neighbours import squared

VALIDATED = 1000  # validation images used to choose the width
SIGMAS = torch.logspace(-1, 0, 10, dtype=torch.float64)  # of pixels in [0, 1]


class Parzen(Metric):
    """Mean log-likelihood of the real images in nats, and its standard error."""

    name = "parzen"
    needs = {GENERATED: (KeptPixels,), REAL: (KeptPixels,), VALIDATION: (KeptPixels,)}
    values = {"parzen": True, "parzen_se": None}
    constants = {"parzen_validation": VALIDATED, "parzen_sigmas": [0.1, 1.0, 10]}

    def check(self, features: Features, reference: Images) -> None:
        if reference.spec.points:
            raise UsageError(
                f"metrics: parzen needs 8-bit pixels, but {reference.name} has points: use metrics=[modes,fid]"
            )

    def warn(self, sets: Mapping[str, Statistics]) -> str | None:
        return (
            f"Parzen likelihood of {len(sets[GENERATED][KeptPixels].images()):,} generated images: it grows with their "
            "number (the papers' is 10,000) and says little about quality; compare it only with other Parzen values"
        )

    def details(self, sets: Mapping[str, Statistics]) -> dict[str, Any]:
        return {"sigma": width(_flat(sets, GENERATED), _flat(sets, VALIDATION)[:VALIDATED])}

    def __call__(self, sets: Mapping[str, Statistics]) -> dict[str, float]:
        generated = _flat(sets, GENERATED)
        sigma = width(generated, _flat(sets, VALIDATION)[:VALIDATED])
        likelihoods = log_likelihood(_flat(sets, REAL), generated, sigma)
        error = likelihoods.std(correction=0).item() / math.sqrt(len(likelihoods))
        return {"parzen": likelihoods.mean().item(), "parzen_se": error}


def width(generated: Tensor, validation: Tensor) -> float:
    """Return the width out of SIGMAS that maximizes the likelihood of validation images (V, d).

    Args:
        generated: centres of the Gaussians, (n, d) in [0, 1].
        validation: images that choose the width, likewise.
    """
    distances = torch.cat([block for _, block in squared(validation, generated)])
    means = torch.stack([_log_density(distances, float(sigma), generated.shape[1]).mean() for sigma in SIGMAS])
    return SIGMAS[means.argmax()].item()


def log_likelihood(x: Tensor, generated: Tensor, sigma: float) -> Tensor:
    """Return log(mean_i N(x; generated_i, sigma^2 I)) in nats, (N,) float64, for images x (N, d)."""
    blocks = squared(x, generated)
    return torch.cat([_log_density(distances, sigma, x.shape[1]) for _, distances in blocks])


def _log_density(distances: Tensor, sigma: float, dim: int) -> Tensor:
    scale = dim * math.log(sigma * math.sqrt(2 * math.pi)) + math.log(distances.shape[1])
    return (-distances / (2 * sigma**2)).logsumexp(1) - scale


def _flat(sets: Mapping[str, Statistics], name: str) -> Tensor:
    return sets[name][KeptPixels].images().flatten(1).double() / 255  # (n, d) in [0, 1]
