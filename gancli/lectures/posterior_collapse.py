"""Latents that say nothing: KL of each latent and the number of active ones as beta grows, in closed form and trained.

A linear autoencoder, q(z|x) = N(V(x - mean), diag(D)), p(x|z) = N(Wz + mean, s^2 I), minimises reconstruction + beta
KL, up to a constant beta times what it minimises with the noise beta s^2 and beta = 1. So the minimum is that of
probabilistic PCA (Lucas et al. 2019, Don't Blame the ELBO!): latent i has the i-th principal direction, whose variance
is l_i, and the KL 1/2 log(l_i / (beta s^2)); it collapses where l_i <= beta s^2. A decoder that takes more for noise
(s) collapses like one whose KL costs more (beta). A nonlinear model does likewise; its ELBO is best at beta = 1.

    gancli train experiment=lecture/posterior_collapse
    gancli train experiment=lecture/posterior_collapse data=mnist images=300k 'model.hidden=[400]'
"""

import math
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from gancli import config
from gancli.data.levels import binarized
from gancli.data.spec import scaled
from gancli.lectures.base import Lecture, LectureContext
from gancli.lectures.players import play
from gancli.models.encoding import normal
from gancli.models.latent import GaussianLatents, active
from gancli.nn import gaussian
from gancli.ranges import Above, Positive, Units
from gancli.views import figures
from gancli.views.real import as_labels

START = 0.1  # standard deviation of the first weights


class PosteriorCollapse(Lecture):
    """A linear autoencoder, closed form and trained, and the config's model, trained with several beta.

    Args:
        betas: weights of the KL.
        std: s, the noise of a pixel in the linear model, in [-1, 1].
        latents: of the linear model.
        iterations: of L-BFGS, at most, by which the linear model is trained.

    Raises:
        ValueError: ``betas`` is empty.
    """

    def __init__(
        self, betas: list[Above], std: Above = 0.5, latents: Units = 10, iterations: Positive = 1000
    ) -> None:  # fmt: skip
        if not betas:
            raise ValueError("betas=[] must name a weight of the KL, such as 1")
        self.betas, self.std, self.latents, self.iterations = sorted(betas), std, latents, iterations

    def draw(self, context: LectureContext) -> tuple[Figure, dict[str, Any]]:
        numbers: dict[str, Any] = {"linear": {}, "model": {}}
        variances = torch.empty(0)
        for i, beta in enumerate(self.betas):
            run = context.build(loss=config.plain(context.cfg.loss) | {"beta": beta})
            model = normal(run.model)
            if not i:
                grey = scaled(torch.from_numpy(run.source.split("train").pixels)).flatten(1).double()
                covariance = grey.T.cov(correction=0)
                variances = torch.linalg.eigvalsh(covariance).flip(0)[: self.latents]
            noise = beta * self.std**2
            generator = torch.Generator().manual_seed(context.cfg.seed)
            numbers["linear"][f"{beta:g}"] = {
                "closed_form": kl_of(variances, noise).tolist(),
                "trained": trained(covariance, noise, self.latents, self.iterations, generator),
                "active": int(active_of(variances, noise).sum()),
            }
            for images in play(run):
                context.show(f"beta {beta:g}", images, run.total)
            test = binarized(run.source.split("test"))
            image = scaled(torch.from_numpy(test.pixels)).to(model.device)
            label = as_labels(model, test.labels) if test.labels is not None else None
            numbers["model"][f"{beta:g}"] = measured(model, image, label, context.cfg.seed)
        figure, axes = figures.panels(2, 2, size=(5.4, 4.0))
        self._draw_linear(axes[0, 0], variances, numbers["linear"])
        self._draw_model(axes[0, 1], numbers["model"])
        self._draw_active(axes[1, 0], variances, numbers)
        self._draw_parts(axes[1, 1], numbers["model"])
        for each in axes.flat:
            each.set_xscale("log", base=2)
            each.xaxis.set_major_formatter("{x:g}")
        figures.source(figure, f"linear model: s = {self.std:g}; Lucas et al. 2019; Burda et al. 2016, section 5.2")
        return figure, {"variances": variances.tolist(), **numbers}

    def _dense(self) -> Tensor:
        low, high = (math.log10(each) for each in (self.betas[0], self.betas[-1]))
        return torch.logspace(low, high, 400, dtype=torch.float64)

    def _draw_linear(self, axes: Axes, variances: Tensor, numbers: dict[str, Any]) -> None:
        dense = self._dense()
        for i, variance in enumerate(variances):
            colour, first = figures.COLOURS[i % len(figures.COLOURS)], not i
            lines = kl_of(variance.expand_as(dense), dense * self.std**2)
            dots = [each["trained"]["kl"][i] for each in numbers.values()]
            axes.plot(dense, lines, color=colour, lw=1.5, label="closed form, each latent" if first else None)
            axes.plot(self.betas, dots, "o", ms=4, color=colour, label="trained" if first else None)
        figures.label(axes, "linear autoencoder", "β", "KL of a latent, nats")

    def _draw_model(self, axes: Axes, numbers: dict[str, Any]) -> None:
        rows = torch.tensor([each["kl"] for each in numbers.values()])
        for i, line in enumerate(rows.T):
            axes.plot(self.betas, line, "o-", ms=3, lw=1, color=figures.COLOURS[i % len(figures.COLOURS)])
        figures.label(axes, "variational autoencoder, latents by their KL", "β", "KL of a latent, nats")

    def _draw_active(self, axes: Axes, variances: Tensor, numbers: dict[str, Any]) -> None:
        dense = self._dense()
        counts = [int(active_of(variances, beta * self.std**2).sum()) for beta in dense.tolist()]
        blue, orange = figures.COLOURS[:2]
        linear, model = (list(numbers[key].values()) for key in ("linear", "model"))
        axes.plot(dense, counts, color=blue, lw=1.5, label=f"linear, closed form, of {self.latents}")
        axes.plot(self.betas, [each["trained"]["active"] for each in linear], "o", color=blue, label="linear, trained")
        axes.plot(
            self.betas, [each["active"] for each in model], "s-", color=orange,
            label=f"variational autoencoder, of {len(model[0]['kl'])}",
        )  # fmt: skip
        axes.set_ylim(bottom=-0.5)
        figures.label(axes, "active units: the variance of the mean is above 0.01", "β", "active latents")

    def _draw_parts(self, axes: Axes, numbers: dict[str, Any]) -> None:
        for key, name, style in (
            ("reconstruction", "reconstruction", "o-"), ("total_kl", "KL", "s-"), ("bound", "their sum, -ELBO", "^-"),
        ):  # fmt: skip
            axes.plot(self.betas, [each[key] for each in numbers.values()], style, ms=5, label=name)
        axes.axvline(1, color="black", ls=":", lw=1)
        axes.set_ylim(bottom=0)
        figures.label(axes, "variational autoencoder: the parts of -ELBO, test images", "β", "nats per image")


def kl_of(variance: Tensor, noise: Any) -> Tensor:
    """Return the KL of the latents of principal directions with these variances; ``noise`` is beta s^2, (), or (N,)."""
    return (variance / noise).log().clamp(min=0) / 2


def active_of(variance: Tensor, noise: float) -> Tensor:
    """Return which of them are active: the variance of the posterior mean, 1 - noise / l, is above 0.01."""
    return 1 - noise / variance > 0.01


def objective(covariance: Tensor, noise: float, w: Tensor, v: Tensor, log_var: Tensor) -> tuple[Tensor, Tensor]:
    """Return (reconstruction + beta KL) / beta without constants, and the KL of each latent, averaged over all data.

    Args:
        covariance: C of the data, (P, P), which is all of them that a linear model sees.
        noise: beta s^2.
        w: of the decoder, (P, d).
        v: of the encoder, (d, P).
        log_var: log D, (d,).
    """
    means = v @ covariance @ v.T  # E (V x)(V x)^T
    error = covariance.trace() - 2 * (w.T @ covariance @ v.T).trace() + (w.T @ w * (means + log_var.exp().diag())).sum()
    kl = gaussian.kl(torch.zeros_like(log_var), log_var) + means.diagonal() / 2
    return error / (2 * noise) + kl.sum(), kl


def trained(
    covariance: Tensor, noise: float, latents: int, iterations: int, generator: torch.Generator
) -> dict[str, Any]:  # fmt: skip
    """Minimise the objective from random weights; return the KL of each latent, the largest first, and active units."""
    p = len(covariance)
    w, v = (
        START * torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((p, latents), (latents, p))
    )
    parameters = [each.requires_grad_() for each in (w, v, torch.zeros(latents, dtype=torch.float64))]
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=iterations, history_size=20, tolerance_change=1e-10, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = objective(covariance, noise, *parameters)[0]
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    with torch.no_grad():
        value, kl = objective(covariance, noise, *parameters)
        variances = (v @ covariance @ v.T).diagonal()
    return {
        "objective": value.item(), "kl": kl.sort(descending=True)[0].tolist(), "active": int((variances > 0.01).sum())
    }  # fmt: skip


@torch.no_grad()
def measured(model: GaussianLatents, image: Tensor, label: Tensor | None, seed: int) -> dict[str, Any]:
    """Return the KL of each latent, the largest first, active units, and both parts of the ELBO, of images."""
    mean, log_var = model.infer(image, label)
    kl = gaussian.kl(mean, log_var).mean(0)
    parts = model.parts(image, label, torch.Generator(model.device).manual_seed(seed)).mean(0)
    return {
        "kl": kl.sort(descending=True)[0].tolist(), "active": int(active(mean).sum()),
        "reconstruction": parts[0].item(), "total_kl": parts[1].item(), "bound": parts.sum().item(),
    }  # fmt: skip
