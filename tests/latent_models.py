"""Latent-variable models whose likelihood is known: probabilistic PCA, and all binary images of nine pixels."""

import itertools

import numpy as np
import torch
from torch import Tensor, nn

from gancli.data.spec import ImageSpec
from gancli.models.latent import GaussianLatents
from gancli.models.vae import VAE
from gancli.nn.densities import Gaussian
from gancli.nn.likelihoods import Bernoulli

DIM, LATENTS, STD = 6, 2, 0.5
NINE = ImageSpec(1, 3, 3, levels=2)


class LinearGaussian(GaussianLatents):
    """Probabilistic PCA (Tipping & Bishop 1999): z ~ N(0, I), x ~ N(Wz + b, STD^2 I), in float64, six pixels.

    q has the mean of the exact posterior and the variances 1 / M_jj, the best of a diagonal normal, where M is the
    precision of the exact posterior. ``correlated=False``: W has orthogonal columns, and q is the exact posterior.
    """

    def __init__(self, correlated: bool) -> None:
        super().__init__(ImageSpec(1, 2, 3, dequantised=True), Gaussian, LATENTS)
        generator = torch.Generator().manual_seed(0)
        w = torch.randn(DIM, LATENTS, generator=generator, dtype=torch.float64)
        self.w = w + 0.2 * w.flip(1) if correlated else torch.linalg.qr(w)[0]
        self.b = torch.randn(DIM, generator=generator, dtype=torch.float64) / 3
        self.precision = torch.eye(LATENTS, dtype=torch.float64) + self.w.T @ self.w / STD**2
        self.off = nn.Parameter(torch.zeros(LATENTS, dtype=torch.float64))  # of q's mean from the best one
        self.encoder, self.decoder = nn.Identity(), _Linear(self.w, self.b)

    def features(self, image: Tensor, code: Tensor | None) -> Tensor:
        mean = torch.linalg.solve(self.precision, (self.w.T @ (image.flatten(1) - self.b).T) / STD**2).T
        return torch.cat([mean + self.off, -self.precision.diagonal().log().expand_as(mean)], 1)

    def log_prob(self, image: Tensor) -> Tensor:
        """Return log N(b, WW' + STD^2 I) of [0, 1]^D."""
        covariance = self.w @ self.w.T + STD**2 * torch.eye(DIM, dtype=torch.float64)
        exact = torch.distributions.MultivariateNormal(self.b, covariance)
        return exact.log_prob(image.flatten(1)) + DIM * np.log(2)

    def gap(self) -> float:
        """Return how far the ELBO lies below the likelihood of any image: 1/2 (sum log M_jj - log det M)."""
        return float(self.precision.diagonal().log().sum() - self.precision.logdet()) / 2

    def images(self, n: int) -> Tensor:
        """Return n images from the model, (n, 1, 2, 3); unlike real ones, they have no bounds."""
        generator = torch.Generator().manual_seed(1)
        z, noise = (torch.randn(n, d, generator=generator, dtype=torch.float64) for d in (LATENTS, DIM))
        return (z @ self.w.T + self.b + STD * noise).view(n, 1, 2, 3)


class _Linear(nn.Module):
    def __init__(self, w: Tensor, b: Tensor) -> None:
        super().__init__()
        self.w, self.b = w, b

    def forward(self, z: Tensor) -> Tensor:
        mean = (z @ self.w.T + self.b).view(-1, 1, 2, 3)
        return torch.cat([mean, torch.full_like(mean, np.log(STD))], 1)


def tiny(seed: int = 0, **kwargs) -> VAE:
    """Return a VAE of nine binary pixels and two latents in float64, its weights large enough to matter."""
    torch.manual_seed(seed)
    model = VAE(NINE, Bernoulli, **{"latent_dim": 2, "hidden": [5], "activation": "tanh", **kwargs}).double().eval()
    for parameter in model.decoder.parameters():
        nn.init.normal_(parameter, std=0.8)
    return model


def all_nine() -> Tensor:
    """Return all 512 binary images of nine pixels, (512, 1, 3, 3) float64."""
    return torch.tensor(list(itertools.product((-1.0, 1.0), repeat=9)), dtype=torch.float64).view(-1, 1, 3, 3)


@torch.no_grad()
def exact_log_prob(model: VAE, image: Tensor, points: int = 60) -> Tensor:
    """Return log p(x) of binary images by Gauss-Hermite quadrature over the two latents, (N,) nats."""
    x, weight = (torch.from_numpy(each) for each in np.polynomial.hermite_e.hermegauss(points))
    z = torch.cartesian_prod(x, x)
    log_weight = torch.cartesian_prod(weight, weight).log().sum(1) - np.log(2 * np.pi)
    params = model.decode(z)
    total = [-model.likelihood.nll(params, each.expand(len(z), -1, -1, -1)) + log_weight for each in image]
    return torch.stack(total).logsumexp(1)
