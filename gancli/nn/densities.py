"""Densities of continuous pixels given a network's output, for data with data.dequantise=uniform.

Values are nats of densities on [0, 1]^D, like those of every density here (models/held_out.py), although images lie in
[-1, 1]: log 2 per value lies between the two. They are no probabilities of levels, and can be negative.
"""

import math

import torch
from torch import Tensor

from gancli.nn.likelihoods import Likelihood, wide

LEAST = -7.0  # smallest log of a scale, as in DiscretizedLogisticMixture
TINY = 1e-6  # uniform noise is kept this far from 0 and 1, whose quantiles are infinite


class Gaussian(Likelihood):
    """Independent normal pixels with learned means and standard deviations (Kingma & Welling 2014, appendix C.2).

    Parameters: C means and C logs of standard deviations. Samples are clipped to [-1, 1], the density is not.

    Args:
        levels: number of values that a channel takes before it is dequantised.
    """

    density = True
    ordered = True

    def channels(self, c: int) -> int:
        return 2 * c

    def nll(self, params: Tensor, image: Tensor) -> Tensor:
        mean, log_std = _halves(params)
        z = (image - mean) * torch.exp(-log_std)
        return (z.square() / 2 + log_std + math.log(2 * math.pi) / 2 - math.log(2)).flatten(1).sum(1)

    def mean(self, params: Tensor, c: int) -> Tensor:
        """Return the mean, clipped to [-1, 1]."""
        return _halves(params)[0].clamp(-1, 1)

    def sample(self, params: Tensor, noise: Tensor) -> Tensor:
        mean, log_std = _halves(params)
        z = torch.special.ndtri(noise.to(mean.dtype).clamp(TINY, 1 - TINY))
        return (mean + log_std.exp() * z).clamp(-1, 1).to(noise.dtype)

    def tempered(self, params: Tensor, temperature: float) -> Tensor:
        """Multiply the standard deviations by the root of the temperature: p^(1/T)."""
        mean, log_std = _halves(params)
        return torch.cat([mean, log_std + math.log(temperature) / 2], 1)

    def start(self, mean: Tensor, std: Tensor) -> Tensor:
        return torch.cat([mean, std.log()])


class LogitLaplace(Likelihood):
    """A Laplace distribution of the logit of a pixel (Ramesh et al. 2021, Zero-Shot Text-to-Image Generation, eq. 2).

    For pixels x in [0, 1], y = (1 - 2 eps) x + eps has the density exp(-|logit y - mu| / b) / (2 b y (1 - y)). nll()
    includes the factor 1 - 2 eps of the change from y to x. A part of the mass lies outside of [eps, 1 - eps], where no
    pixel is: the density integrates to less than 1, so that its nats are too many rather than too few.

    Parameters: C values of mu and C logs of b. mean() is the image at the median of y, as in the authors' code.

    Args:
        levels: number of values that a channel takes before it is dequantised.
        eps: distance of black and white from 0 and 1.
    """

    density = True
    ordered = True

    def __init__(self, levels: int, eps: float = 0.1) -> None:
        super().__init__(levels)
        if not 0 < eps < 0.5:
            raise ValueError(f"eps={eps} must be above 0 and below 0.5")
        self.eps = eps

    def channels(self, c: int) -> int:
        return 2 * c

    def nll(self, params: Tensor, image: Tensor) -> Tensor:
        mu, log_b = _halves(params)
        y = self._inside(image.to(mu.dtype))
        log_density = -(y.logit() - mu).abs() * torch.exp(-log_b) - log_b - (2 * y * (1 - y)).log()
        return -(log_density + math.log(1 - 2 * self.eps)).flatten(1).sum(1)

    def mean(self, params: Tensor, c: int) -> Tensor:
        """Return the median, sigmoid(mu) mapped back, clipped to [-1, 1]."""
        return self._outside(_halves(params)[0].sigmoid())

    def sample(self, params: Tensor, noise: Tensor) -> Tensor:
        mu, log_b = _halves(params)
        u = noise.to(mu.dtype).clamp(TINY, 1 - TINY) - 0.5
        laplace = -u.sign() * torch.log1p(-2 * u.abs())
        return self._outside((mu + log_b.exp() * laplace).sigmoid()).to(noise.dtype)

    def tempered(self, params: Tensor, temperature: float) -> Tensor:
        """Multiply the scales b by the temperature: the Laplace distribution of the logit to the power of 1/T."""
        mu, log_b = _halves(params)
        return torch.cat([mu, log_b + math.log(temperature)], 1)

    def start(self, mean: Tensor, std: Tensor) -> Tensor:
        """Return the logits of the means, and scales to first order: d logit y = dy / (y (1 - y)), b = std / sqrt 2."""
        y = self._inside(mean)
        return torch.cat([y.logit(), (std * (0.5 - self.eps) / (y * (1 - y)) / math.sqrt(2)).log()])

    def _inside(self, image: Tensor) -> Tensor:
        """Map [-1, 1] to [eps, 1 - eps]."""
        return (image + 1) / 2 * (1 - 2 * self.eps) + self.eps

    def _outside(self, y: Tensor) -> Tensor:
        return ((y - self.eps) / (1 - 2 * self.eps) * 2 - 1).clamp(-1, 1)


def _halves(params: Tensor) -> tuple[Tensor, Tensor]:
    """Return locations and logs of scales, (N, C, ...) each."""
    location, log_scale = wide(params).chunk(2, 1)
    return location, log_scale.clamp(min=LEAST)
