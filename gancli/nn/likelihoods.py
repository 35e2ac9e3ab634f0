"""Distributions of a pixel given a network's output: exact, numerically stable probabilities of levels."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid, softplus

from gancli.errors import UsageError
from gancli.ranges import Units


class Likelihood(ABC):
    """A probability of images whose channels take ``levels`` values, evenly spaced over [-1, 1].

    Parameters are (N, channels(C), ...), images and noise (N, C, ...) and (N, noise_channels(C), ...) with the same
    trailing dimensions: a map (H, W) or a list of pixels (P,). Arithmetic is float32 or wider, also under autocast.

    Args:
        levels: number of values that a channel takes, 2 or more (256: 8 bits).
    """

    density: ClassVar[bool] = False  # whether nll() is that of a density rather than of a probability of levels
    local: ClassVar[bool] = True  # whether a pixel's distribution depends on its own parameters alone
    ordered: ClassVar[bool] = False  # whether neighbouring levels are similar, unlike codes (ImageSpec.nominal)
    bound: ClassVar[bool] = False  # whether nll() is only an upper bound

    def __init__(self, levels: int) -> None:
        self.levels = levels

    @abstractmethod
    def channels(self, c: int) -> int:
        """Return the number of parameters per pixel for images of c channels."""

    def groups(self, c: int) -> int:
        """Return the number of conditionals per pixel: c if the network has to order the colours, else 1."""
        return c

    def noise_channels(self, c: int) -> int:
        """Return how many uniform numbers it takes to sample one pixel of c channels."""
        return c

    @abstractmethod
    def nll(self, params: Tensor, image: Tensor) -> Tensor:
        """Return -log p(image), (N,) nats, summed over all pixels and channels."""

    @abstractmethod
    def sample(self, params: Tensor, noise: Tensor) -> Tensor:
        """Map uniform noise in [0, 1) to images on the grid in [-1, 1], deterministically."""

    @abstractmethod
    def mean(self, params: Tensor, c: int) -> Tensor:
        """Return the expected image of c channels, (N, c, ...) in [-1, 1], which need not lie on the grid."""

    def start(self, mean: Tensor, std: Tensor) -> Tensor | None:
        """Return parameters of pixels with these means and standard deviations; None: unknown.

        Args:
            mean: (c, ...) in [-1, 1].
            std: of values in [-1, 1], above 0, of the same shape; Bernoulli pixels have none of their own.

        Returns:
            (channels(c), ...)
        """
        return None

    def begun(self, pixels: Tensor, over: Sequence[int] = (0, 2, 3)) -> Tensor | None:
        """Return parameters of a decoder's output that knows only the pixels' mean and spread; None: unknown.

        A decoder that has to learn the spread of all pixels first does so by its latents, which then say nothing else:
        codes of a VQ-VAE fell from 65 in use to 1 within 16 updates.

        Args:
            pixels: (N, C, H, W) levels from 0 to 255.
            over: the dimensions that the mean is taken over; the spread is a channel's.

        Returns:
            (channels(C), ...), float64
        """
        wide = pixels.double()
        mean, variance = wide.mean(tuple(over)) / 127.5 - 1, wide.var((0, 2, 3), correction=0) / 127.5**2
        std = (variance + (2 / (self.levels - 1)) ** 2 / 12).sqrt()  # with the width of a bin
        return self.start(mean, std.view(-1, *[1] * (mean.dim() - 1)).expand_as(mean))

    def tempered(self, params: Tensor, temperature: float) -> Tensor:
        """Return parameters of a distribution that is narrower for temperatures below 1, wider above: p^(1/T) here."""
        return params / temperature

    def level(self, image: Tensor) -> Tensor:
        """Return the nearest level of each value in [-1, 1]: 0 .. levels - 1, as floats."""
        return ((image + 1) * ((self.levels - 1) / 2)).round().clamp(0, self.levels - 1)

    def value(self, level: Tensor) -> Tensor:
        """Return the value of a level in [-1, 1], bit for bit as the loader scales 8-bit pixels."""
        return level / ((self.levels - 1) / 2) - 1

    def snap(self, image: Tensor) -> Tensor:
        """Round each value to the nearest grid point (3-bit levels stored as bytes are off by up to 0.004)."""
        return self.value(self.level(image))


class Bernoulli(Likelihood):
    """Binary pixels; the parameter is the logit of the upper level.

    Raises:
        UsageError: the data has more than two levels.
    """

    def __init__(self, levels: int) -> None:
        super().__init__(levels)
        if levels != 2:
            raise UsageError(
                f"likelihood Bernoulli is for binary images, but the data has {levels} levels: "
                "add data.binarise=dynamic or choose likelihood@model.likelihood=categorical"
            )

    def channels(self, c: int) -> int:
        return c

    def nll(self, params: Tensor, image: Tensor) -> Tensor:
        # -log sigma(z) for a one, -log sigma(-z) for a zero.
        return softplus(-wide(params) * self.snap(image)).flatten(1).sum(1)

    def mean(self, params: Tensor, c: int) -> Tensor:
        return wide(params).sigmoid() * 2 - 1

    def start(self, mean: Tensor, std: Tensor) -> Tensor:
        """Return the logits of means that are clipped to [0.001, 0.999], as in the code of Burda et al. 2016."""
        return ((mean + 1) / 2).clamp(1e-3, 1 - 1e-3).logit()

    def sample(self, params: Tensor, noise: Tensor) -> Tensor:
        return torch.where(noise < wide(params).sigmoid(), 1.0, -1.0).to(noise.dtype)


class Categorical(Likelihood):
    """A softmax over all levels for each channel (van den Oord et al. 2016, section 3.3): 256-way for 8 bits.

    Parameters are colour-major: all logits of the first channel, then those of the next.
    """

    def channels(self, c: int) -> int:
        return c * self.levels

    def nll(self, params: Tensor, image: Tensor) -> Tensor:
        log_p = log_softmax(self._split(params), 2)  # (N, C, levels, ...)
        return -log_p.gather(2, self.level(image).long().unsqueeze(2)).flatten(1).sum(1)

    def mean(self, params: Tensor, c: int) -> Tensor:
        p = self._split(params).softmax(2)  # (N, C, levels, ...)
        levels = self.value(torch.arange(self.levels, dtype=p.dtype, device=p.device))
        return (p * levels.view(-1, *[1] * (p.dim() - 3))).sum(2)

    def sample(self, params: Tensor, noise: Tensor) -> Tensor:
        cdf = self._split(params).softmax(2).cumsum(2)
        # The last entry may be rounded to less than 1, so it is left out.
        level = (cdf[:, :, :-1] <= noise.unsqueeze(2)).sum(2)
        return self.value(level.to(noise.dtype))

    def _split(self, params: Tensor) -> Tensor:
        return wide(params).unflatten(1, (-1, self.levels))


class DiscretizedLogisticMixture(Likelihood):
    """A mixture of logistics integrated over each level's bin (Salimans et al. 2017, PixelCNN++, eq. 1 to 3).

    With p = (x - mu + w) / s and q = (x - mu - w) / s, where w is half a bin, P(x) = sigma(p) - sigma(q), and the outer
    levels take the tails. It is computed as sigma(p) sigma(-q) (1 - exp(-2w/s)), which neither cancels nor needs the
    authors' switch to a density below 1e-5. The channels of a pixel share a component; their means are linear in the
    earlier channels (eq. 3, with the printed gamma * b read as gamma * g). Deviations: sampling rounds each channel
    before the next one is conditioned on it, as the likelihood does (the authors' sampling does not), and log-scales
    stay below 20.

    Parameters: K weights, C x K means, C x K log-scales, C(C-1)/2 x K coefficients, 10 K in all for RGB.

    Args:
        levels: number of values that a channel takes.
        components: number K of logistics in the mixture.
    """

    ordered = True
    LOG_SCALE = (-7.0, 20.0)

    def __init__(self, levels: int, components: Units = 10) -> None:
        super().__init__(levels)
        self.components = components

    def channels(self, c: int) -> int:
        return self.components * (1 + 2 * c + c * (c - 1) // 2)

    def start(self, mean: Tensor, std: Tensor) -> Tensor:
        """Return components that are alike, with colours that do not depend on each other."""
        log_scale = (std * (math.sqrt(3) / math.pi)).log()  # a logistic's variance is (pi s)^2 / 3
        none = mean[:1].new_zeros(1, *mean.shape[1:])
        coefficients = none.expand(len(mean) * (len(mean) - 1) // 2, *mean.shape[1:])
        return torch.cat([none, mean, log_scale, coefficients]).repeat_interleave(self.components, 0)

    def groups(self, c: int) -> int:
        return 1  # the coefficients order the colours, so the network need not

    def noise_channels(self, c: int) -> int:
        return 1 + c  # one for the component, then one per channel

    def nll(self, params: Tensor, image: Tensor) -> Tensor:
        x = self.snap(image.to(wide(params).dtype))
        weights, means, log_scales, coefficients = self._split(params, image.shape[1])
        mu = torch.stack([_mean(means, coefficients, x, i) for i in range(x.shape[1])], 1)  # (N, C, K, ...)
        log_p = self._log_bin(x.unsqueeze(2), mu, log_scales).sum(1)  # (N, K, ...)
        return -(log_softmax(weights, 1) + log_p).logsumexp(1).flatten(1).sum(1)

    def mean(self, params: Tensor, c: int) -> Tensor:
        """Return the mean over components of their exact means over levels, each colour given the earlier means.

        It is exact for one channel. For RGB it is an approximation: the means of later colours are linear in the
        earlier ones (eq. 3) only up to the clipping to [-1, 1] at the outer levels.
        """
        weights, means, log_scales, coefficients = self._split(params, c)
        value = self.value(torch.arange(self.levels, dtype=means.dtype, device=means.device))
        x = means.new_zeros(means.shape)  # (N, C, K, ...): the mean of every component
        for i in range(c):
            first = i * (i - 1) // 2
            mu = means[:, i] + sum(coefficients[:, first + j] * x[:, j] for j in range(i))
            log_p = self._log_bin(value.view(-1, *[1] * mu.dim()), mu, log_scales[:, i])  # (levels, N, K, ...)
            x[:, i] = torch.tensordot(value, log_p.exp(), 1)
        return (weights.softmax(1).unsqueeze(1) * x).sum(2)

    def _log_bin(self, x: Tensor, mu: Tensor, log_scale: Tensor) -> Tensor:
        """Return the log of the logistic's mass in the bin of x; shapes are broadcast."""
        half, inverse = 1 / (self.levels - 1), torch.exp(-log_scale)
        upper, lower = logsigmoid((x - mu + half) * inverse), logsigmoid(-(x - mu - half) * inverse)
        between = upper + lower + torch.log(-torch.expm1(-2 * half * inverse))
        level = self.level(x)  # compared as integers: a threshold on x fails from 11 bits on
        return torch.where(level == 0, upper, torch.where(level == self.levels - 1, lower, between))

    def sample(self, params: Tensor, noise: Tensor) -> Tensor:
        weights, means, log_scales, coefficients = self._split(params, noise.shape[1] - 1)
        cdf = weights.softmax(1).cumsum(1)[:, :-1]
        chosen = (cdf <= noise[:, :1]).sum(1, keepdim=True).unsqueeze(1)  # (N, 1, 1, ...)
        means, log_scales, coefficients = (
            t.gather(2, chosen.expand(-1, t.shape[1], -1, *[-1] * (t.dim() - 3)))
            for t in (means, log_scales, coefficients)
        )
        x = means.new_zeros(noise.shape[0], noise.shape[1] - 1, *noise.shape[2:])
        for i in range(x.shape[1]):
            logistic = torch.logit(noise[:, i + 1].to(x.dtype))
            value = _mean(means, coefficients, x, i).squeeze(1) + log_scales[:, i, 0].exp() * logistic
            x[:, i] = self.snap(value)
        return x.to(noise.dtype)

    def tempered(self, params: Tensor, temperature: float) -> Tensor:
        """Sharpen the choice of the component and multiply the scales of the logistics by the temperature."""
        parts = params.unflatten(1, (-1, self.components))
        c = next(c for c in range(1, parts.shape[1] + 1) if self.channels(c) == params.shape[1])
        weights, means, log_scales, coefficients = parts.split([1, c, c, c * (c - 1) // 2], 1)
        scaled = log_scales.clamp(*self.LOG_SCALE) + math.log(temperature)
        return torch.cat([weights / temperature, means, scaled, coefficients], 1).flatten(1, 2)

    def _split(self, params: Tensor, c: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return weights (N, K, ...), means and log-scales (N, C, K, ...) and coefficients (N, C(C-1)/2, K, ...)."""
        parts = wide(params).unflatten(1, (-1, self.components))
        weights, means, log_scales, coefficients = parts.split([1, c, c, c * (c - 1) // 2], 1)
        return weights[:, 0], means, log_scales.clamp(*self.LOG_SCALE), coefficients.tanh()


def _mean(means: Tensor, coefficients: Tensor, x: Tensor, i: int) -> Tensor:
    """Return the means of channel i given the channels before it, (N, K, ...)."""
    first = i * (i - 1) // 2
    return means[:, i] + sum(coefficients[:, first + j] * x[:, j].unsqueeze(1) for j in range(i))


def wide(params: Tensor) -> Tensor:
    """Convert to float32, but leave float64 unchanged."""
    return params.to(torch.promote_types(params.dtype, torch.float32))
