"""How far bounds lie below a likelihood that is known: probabilistic PCA (Tipping & Bishop 1999), z ~ N(0, I), x ~
N(Wz, s^2 I), whose likelihood N(0, WW' + s^2 I) and posterior N(m, S), S^-1 = I + W'W / s^2, are closed forms.

The ELBO falls short of log p(x) by KL(q || p(z|x)) (Kingma & Welling 2014, eq. 1): by nothing for the exact posterior,
and by a closed form for other normal q. Burda et al. 2016, theorem 1: log 1/k sum_i p(x, z_i) / q(z_i|x) rises with k
towards log p(x). It does so as chi^2(p(z|x) || q) / 2k where that divergence is finite, the delta method says. The best
diagonal q for the ELBO, with variances 1 / (S^-1)_jj, is too narrow for that if the posterior is correlated enough, and
one with the posterior's own marginals, whose ELBO is worse, overtakes it.

    gancli train experiment=lecture/elbo_gap
"""

import math
from typing import Any, NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from torch import Tensor
from torch.distributions import MultivariateNormal

from gancli.lectures.base import Lecture, LectureContext
from gancli.ranges import Above, Positive, Share
from gancli.views import figures

LATENTS = 2
EXACT, BEST, MARGINALS, PRIOR = "exact posterior", "best diagonal", "diagonal, its marginals", "prior"
DRAWN = 2**19  # codes at a time
SHOWN = torch.tensor([[0.3, 0.3]], dtype=torch.float64)  # z of the image whose posteriors are drawn
SCALES = torch.logspace(-1, 1, 41, base=4, dtype=torch.float64)  # of q's standard deviations


class LinearGaussian(NamedTuple):
    """Probabilistic PCA with two latents, in float64."""

    w: Tensor  # (D, 2)
    std: float  # s

    @property
    def precision(self) -> Tensor:
        """S^-1, the precision of the posterior of any image. (2, 2)."""
        return torch.eye(LATENTS, dtype=torch.float64) + self.w.T @ self.w / self.std**2

    def posterior_mean(self, x: Tensor) -> Tensor:
        """Return m. (N, D) -> (N, 2)."""
        return torch.linalg.solve(self.precision, self.w.T @ x.T / self.std**2).T

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x), (N,) nats."""
        d = len(self.w)
        covariance = self.w @ self.w.T + self.std**2 * torch.eye(d, dtype=torch.float64)
        return MultivariateNormal(torch.zeros(d, dtype=torch.float64), covariance).log_prob(x)

    def log_joint(self, x: Tensor, z: Tensor) -> Tensor:
        """Return log p(z) + log p(x|z): (N, D), (k, N, 2) -> (k, N) nats."""
        error = (x - z @ self.w.T).square().sum(-1) / self.std**2 + z.square().sum(-1)
        constant = len(self.w) * math.log(2 * math.pi * self.std**2) + LATENTS * math.log(2 * math.pi)
        return -(error + constant) / 2

    def images(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw n images from the model, (n, D)."""
        z, noise = (torch.randn(n, d, generator=generator, dtype=torch.float64) for d in (LATENTS, len(self.w)))
        return z @ self.w.T + self.std * noise


class ELBOGap(Lecture):
    """Four normal q(z|x), the gaps of their ELBOs, and the bounds of Burda et al. at k samples.

    Args:
        pixels: D.
        std: s, the noise of a pixel; W has columns of length 1.
        overlap: cosine of the angle between W's columns; the larger, the more correlated the posterior.
        images: drawn from the model, over which bounds are averaged.
        samples: the largest k, and codes of each image.

    Raises:
        ValueError: there are fewer pixels than latents.
    """

    def __init__(
        self, pixels: Positive = 6, std: Above = 0.25, overlap: Share = 0.85, images: Positive = 400,
        samples: Positive = 5000,
    ) -> None:  # fmt: skip
        if pixels < LATENTS:
            raise ValueError(f"pixels={pixels} must be {LATENTS} or more")
        self.pixels, self.std, self.overlap, self.images, self.samples = pixels, std, overlap, images, samples

    def draw(self, context: LectureContext) -> tuple[Figure, dict[str, Any]]:
        generator = torch.Generator().manual_seed(context.cfg.seed)
        model = linear_gaussian(self.pixels, self.std, self.overlap)
        x = model.images(self.images, generator)
        log_prob, covariances = model.log_prob(x), posteriors(model)
        truth = log_prob.mean().item()
        numbers: dict[str, Any] = {"log_prob": truth}
        for i, (name, covariance) in enumerate(covariances.items()):
            context.show("posteriors", i, len(covariances))
            mean = torch.zeros_like(x[:, :LATENTS]) if name == PRIOR else model.posterior_mean(x)
            gap = divergence(model, model.posterior_mean(x) - mean, covariance).mean().item()
            weights = log_weights(model, x, mean, covariance, self.samples, generator)
            numbers[name] = {
                "gap": gap, "elbo": truth - gap, "chi_squared": chi_squared(model, covariance, name), "k": {}
            }  # fmt: skip
            for k in steps(self.samples):
                left, error = importance_weighted(weights, log_prob, k)
                numbers[name]["k"][k] = {"bound": truth - left, "gap": left, "standard_error": error}
        figure, axes = figures.panels(2, 2, size=(5.4, 4.0))
        _draw_posteriors(axes[0, 0], model.posterior_mean(SHOWN @ model.w.T)[0], covariances)
        _draw_scales(axes[0, 1], model, truth, covariances)
        _draw_bounds(axes[1, 0], numbers, truth)
        _draw_gaps(axes[1, 1], numbers)
        figures.source(
            figure,
            f"probabilistic PCA, {self.pixels} pixels, 2 latents, s = {self.std:g}, {self.images} images of its own; "
            "Kingma & Welling 2014, eq. 1; Burda et al. 2016, theorem 1",
        )
        return figure, numbers


def linear_gaussian(pixels: int, std: float, overlap: float) -> LinearGaussian:
    """Return the model whose W has two columns of length 1, the cosine of whose angle is ``overlap``."""
    random = torch.randn(pixels, LATENTS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    first, second = torch.linalg.qr(random)[0].unbind(1)
    return LinearGaussian(torch.stack([first, overlap * first + math.sqrt(1 - overlap**2) * second], 1), std)


def posteriors(model: LinearGaussian) -> dict[str, Tensor]:
    """Return the covariances of the q's, (2, 2) each. All but the prior have the exact mean."""
    exact = torch.linalg.inv(model.precision)
    return {
        EXACT: exact,
        BEST: torch.diag(1 / model.precision.diagonal()),
        MARGINALS: torch.diag(exact.diagonal()),
        PRIOR: torch.eye(LATENTS, dtype=torch.float64),
    }


def divergence(model: LinearGaussian, off: Tensor, covariance: Tensor) -> Tensor:
    """Return KL(q || p(z|x)), (N,) nats, of a normal q whose mean is off the exact one by (N, 2)."""
    precision = model.precision
    spread = (precision @ covariance).trace() - LATENTS - covariance.logdet() - precision.logdet()
    return ((off @ precision * off).sum(1) + spread) / 2


def chi_squared(model: LinearGaussian, covariance: Tensor, name: str) -> float:
    """Return E_q[(p(z|x) / q)^2] - 1 of a q with the exact mean; infinite if q is too narrow, NaN for the prior."""
    if name == PRIOR:  # it depends on the image
        return math.nan
    inverse = torch.linalg.inv(covariance)
    narrow = 2 * model.precision - inverse
    if torch.linalg.eigvalsh(narrow)[0] <= 0:
        return math.inf
    return math.expm1((model.precision.logdet() - (inverse.logdet() + narrow.logdet()) / 2).item())


def log_weights(
    model: LinearGaussian, x: Tensor, mean: Tensor, covariance: Tensor, k: int, generator: torch.Generator
) -> Tensor:
    """Return log p(x, z) - log q(z|x) of k codes of each image, (k, N) nats."""
    found, some = [], max(1, DRAWN // k)
    for part, at in zip(x.split(some), mean.split(some)):
        q = MultivariateNormal(at, covariance)
        noise = torch.randn(k, *at.shape, generator=generator, dtype=torch.float64)
        z = at + noise @ q.scale_tril[0].T
        found.append(model.log_joint(part, z) - q.log_prob(z))
    return torch.cat(found, 1)


def steps(samples: int) -> list[int]:
    """Return 1, 2, 5, 10, ... and the number of samples itself."""
    return [k for power in range(7) for k in (10**power, 2 * 10**power, 5 * 10**power) if k < samples] + [samples]


def importance_weighted(weights: Tensor, log_prob: Tensor, k: int) -> tuple[float, float]:
    """Return the mean of log p(x) - log 1/k sum_i w_i, which is the gap, and its standard error, in nats.

    All of the weights are used, in n // k groups of each image. The error is that of the mean over images.

    Args:
        weights: their logs, (n, N).
        log_prob: log p(x), (N,).
        k: samples of a bound.
    """
    groups = weights[: len(weights) // k * k].view(-1, k, weights.shape[1])
    gaps = log_prob - (groups.logsumexp(1) - math.log(k)).mean(0)
    return gaps.mean().item(), (gaps.std() / math.sqrt(len(gaps))).item()


def _draw_posteriors(axes: Axes, mean: Tensor, covariances: dict[str, Tensor]) -> None:
    """Draw the ellipses of two standard deviations of each q for one image; the prior is too wide to be shown whole."""
    for name, colour in zip(covariances, figures.COLOURS):
        values, vectors = torch.linalg.eigh(covariances[name])
        angle = math.degrees(math.atan2(vectors[1, 1].item(), vectors[0, 1].item()))
        centre = (0.0, 0.0) if name == PRIOR else (mean[0].item(), mean[1].item())
        wide, high = (4 * values.sqrt()).flip(0).tolist()
        fill = name == EXACT
        axes.add_patch(
            Ellipse(centre, wide, high, angle=angle, fill=fill, fc=(*_rgb(colour), 0.2), ec=colour, lw=2, label=name)
        )
    axes.set(xlim=(-2.3, 4.7), ylim=(-2.3, 2.3), aspect="equal")
    figures.label(axes, "q(z|x) of one image: two standard deviations", "z₁", "z₂", legend=False)
    axes.legend(loc="upper right", fontsize=8)


def _rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def _draw_scales(axes: Axes, model: LinearGaussian, truth: float, covariances: dict[str, Tensor]) -> None:
    """Draw the closed form of the ELBO as q becomes narrower and wider."""
    none = torch.zeros(1, LATENTS, dtype=torch.float64)
    axes.axhline(truth, color="black", ls="--", lw=1.5, label="log p(x)")
    for name, colour in zip((EXACT, BEST), figures.COLOURS):
        gaps = torch.cat([divergence(model, none, each**2 * covariances[name]) for each in SCALES])
        axes.plot(SCALES, truth - gaps, color=colour, lw=2, label=f"ELBO, shape: {name}")
    axes.set_xscale("log", base=2)
    axes.set_ylim(truth - 4, truth + 0.4)
    axes.xaxis.set_major_formatter("{x:g}")
    figures.label(axes, "the ELBO and q's width", "factor on the standard deviations of q", "nats per image")


def _draw_bounds(axes: Axes, numbers: dict[str, Any], truth: float) -> None:
    axes.axhline(truth, color="black", ls="--", lw=1.5, label="log p(x)")
    for name, colour in zip((EXACT, BEST, MARGINALS, PRIOR), figures.COLOURS):
        found = numbers[name]["k"]
        axes.plot(list(found), [each["bound"] for each in found.values()], "o-", ms=4, color=colour, label=name)
        axes.plot(1, numbers[name]["elbo"], "_", ms=16, mew=2, color=colour)
    axes.set_xscale("log")
    axes.set_ylim(truth - 4, truth + 0.4)
    figures.label(axes, "bounds of k samples; —: the ELBO in closed form", "samples k", "nats per image")


def _draw_gaps(axes: Axes, numbers: dict[str, Any]) -> None:
    """Draw gaps where they are above three standard errors, and the lines of the delta method."""
    lowest = math.inf
    for name, colour in zip((BEST, MARGINALS, PRIOR), figures.COLOURS[1:]):
        found = {k: each for k, each in numbers[name]["k"].items() if each["gap"] > 3 * each["standard_error"]}
        gaps = [each["gap"] for each in found.values()]
        axes.errorbar(
            list(found), gaps, [each["standard_error"] for each in found.values()], fmt="o-", ms=4, color=colour,
            label=name,
        )  # fmt: skip
        lowest = min([lowest, *gaps])
        if math.isfinite(chi := numbers[name]["chi_squared"]):
            ks = [k for k in numbers[name]["k"] if k >= chi]
            axes.plot(ks, [chi / (2 * k) for k in ks], ls=":", color=colour, lw=2, label=f"χ² / 2k, χ² = {chi:.3g}")
    axes.set(xscale="log", yscale="log")
    if math.isfinite(lowest):
        axes.set_ylim(lowest / 3)
    figures.label(axes, "the gap that is left", "samples k", "log p(x) - bound, nats")
