"""Two parallel lines: Arjovsky, Chintala & Bottou 2017, Wasserstein GAN, example 1.

The data are (0, u), the generated points (theta, u), with u uniform on [0, 1]. Unless the lines coincide, no divergence
that compares densities depends on theta: KL is infinite, Jensen-Shannon is log 2, and total variation is 1. The
Wasserstein distance is |theta|. A discriminator and a critic find the same from samples. With noise on both lines,
Jensen-Shannon has a slope.

    gancli train experiment=lecture/parallel_lines
"""

import math
from functools import reduce
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gancli.lectures.base import Lecture, LectureContext
from gancli.lectures.players import Line, Upright, adversarial_loss, adversarial_model, critic_alone, jsd, log_normal
from gancli.views import figures

TICKS = (-1, -0.5, 0, 0.5, 1)


class ParallelLines(Lecture):
    """Distances over theta: in closed form, learned, and with noise.

    Args:
        players: config nodes (``loss``, ...) of a ``discriminator`` and a ``critic`` to be trained.
        points: number of values of theta in [-1, 1] for the curves; odd, so that 0 is one of them.
        learned: number of values of theta at which the players are trained; 0: none.
        noise: standard deviations of the noise in the last panel.

    Raises:
        ValueError: the number of points is even or below 3, or a standard deviation is not positive.
    """

    def __init__(self, players: dict[str, Any], points: int = 21, learned: int = 11, noise: tuple[float, ...] = ()):
        if points < 3 or points % 2 == 0 or min(noise, default=1) <= 0:
            raise ValueError(f"points={points} must be odd and 3 or more, noise={list(noise)} above 0")
        self.players, self.points, self.learned, self.noise = players, points, learned, noise

    def draw(self, context: LectureContext) -> tuple[Figure, dict[str, Any]]:
        thetas = torch.linspace(-1, 1, self.points, dtype=torch.float64).tolist()
        known = {theta: distances(theta) for theta in thetas}
        found: dict[str, dict[float, float]] = {name: {} for name in self.players}
        spots = torch.linspace(-1, 1, self.learned).tolist() if self.learned else []
        for i, theta in enumerate(spots):
            for j, (name, nodes) in enumerate(self.players.items()):
                context.show("discriminators and critics", i * len(self.players) + j, len(spots) * len(self.players))
                found[name][theta] = _learn(context, nodes, theta)
        noisy = {sigma: {theta: noisy_jsd(theta, sigma) for theta in thetas} for sigma in self.noise}
        figure, axes = figures.panels(1, 3, size=(4.6, 3.9))
        _draw_lines(axes[0, 0])
        _draw_distances(axes[0, 1], known, found)
        _draw_noise(axes[0, 2], noisy)
        figures.source(figure, "Arjovsky, Chintala & Bottou 2017, example 1; noise: Arjovsky & Bottou 2017")
        columns = {key: [row[key] for row in known.values()] for key in known[thetas[0]]}
        numbers = {"theta": thetas, **columns, "at_theta_1": known[1.0]}
        numbers["JS_with_noise"] = {f"{sigma:g}": list(row.values()) for sigma, row in noisy.items()}
        numbers["learned"] = {"theta": spots} | {name: list(row.values()) for name, row in found.items()}
        return figure, numbers


def distances(theta: float) -> dict[str, float]:
    """Return KL, JS, W (of order 1) and TV between the two lines, JS and KL in nats."""
    if theta == 0:
        return {"KL": 0.0, "JS": 0.0, "W": 0.0, "TV": 0.0}
    # The supports are disjoint: p log p/0 in KL, p log p/(p/2) in JS; every point is moved straight across by |theta|.
    return {"KL": math.inf, "JS": math.log(2), "W": abs(theta), "TV": 1.0}


def noisy_jsd(theta: float, sigma: float) -> float:
    """Return JS in nats after adding noise N(0, sigma^2) to both lines; only the direction across them matters."""
    line = Line.over(-1 - 12 * sigma, 1 + 12 * sigma)
    return jsd(log_normal(line.x, 0, sigma), log_normal(line.x, theta, sigma), line)


def _learn(context: LectureContext, nodes: dict[str, Any], theta: float) -> float:
    """Return a trained player's estimate of the distance: JS in nats for a discriminator, K W for a critic.

    With a gradient penalty of weight lambda, the optimum is at K = 1 + W / (2 lambda).
    """
    run = context.build(**nodes)
    run.model.generator = Upright(theta).to(run.model.device)
    for _ in critic_alone(run):
        pass
    model, loss = adversarial_model(run), adversarial_loss(run)
    u = torch.linspace(0, 1, 1001, device=model.device)
    with torch.no_grad():
        real, fake = (model.score(torch.stack([x, u], 1)[..., None, None]) for x in (0 * u, 0 * u + theta))
        value = -reduce(torch.add, loss.discriminator_loss(real, fake).values()).item()
    return value if "distance" in loss.verdicts(real, fake) else math.log(2) + value / 2


def _draw_lines(axes: Axes) -> None:
    axes.plot([0, 0], [0, 1], lw=5, solid_capstyle="butt", label="data: (0, u)")
    axes.plot([0.6, 0.6], [0, 1], lw=5, solid_capstyle="butt", label=r"generated: ($\theta$, u)")
    axes.annotate("", (0.6, 0.5), (0, 0.5), arrowprops={"arrowstyle": "<->", "lw": 1.5})
    axes.annotate(r"$\theta$", (0.3, 0.53), ha="center", fontsize=14)
    figures.label(axes, "Two lines, u uniform on [0, 1]", r"$x_1$", r"$x_2$", legend=False)
    axes.set(xlim=(-1, 1), ylim=(-0.05, 1.3), xticks=TICKS)
    axes.legend(loc="upper left")


def _draw_distances(axes: Axes, known: dict[float, dict[str, float]], found: dict[str, dict[float, float]]) -> None:
    apart = [theta for theta in known if theta]
    top = 1.35
    for side in (-1, 1):
        thetas = sorted([theta for theta in apart if theta * side > 0] + [side * 1e-3])
        for i, (key, text) in enumerate((("JS", "Jensen-Shannon: log 2"), ("TV", "total variation: 1"))):
            shown = [distances(theta)[key] for theta in thetas]
            axes.plot(thetas, shown, color=figures.COLOURS[2 * i], lw=2, label=text if side > 0 else None)
        infinite = r"Kullback-Leibler: $\infty$" if side > 0 else None
        axes.plot(thetas, [top] * len(thetas), color=figures.COLOURS[3], lw=2, ls="--", label=infinite)
    lengths = [row["W"] for row in known.values()]
    axes.plot(list(known), lengths, color=figures.COLOURS[1], lw=2, label=r"Wasserstein: $|\theta|$")
    axes.plot(0, 0, "o", color="black", ms=5)
    for name, marker, colour in (("discriminator", "o", 0), ("critic", "s", 1)):
        if found.get(name):
            thetas, text = list(found[name]), f"learned by a {name}"
            values = list(found[name].values())
            axes.plot(thetas, values, marker, mfc="none", color=figures.COLOURS[colour], ls="", label=text)
    figures.label(axes, "Distance between the lines", r"$\theta$", "distance; nats", legend=False)
    axes.set(ylim=(-0.08, 2.35), xticks=TICKS)
    axes.legend(loc="upper center", ncols=2, fontsize=8)


def _draw_noise(axes: Axes, noisy: dict[float, dict[float, float]]) -> None:
    for sigma, row in noisy.items():
        axes.plot(list(row), list(row.values()), ".-", ms=4, label=rf"$\sigma$ = {sigma:g}")
    axes.axhline(math.log(2), ls=":", color="0.5")
    axes.annotate("log 2", (1, math.log(2)), ha="right", va="bottom", color="0.35")
    figures.label(axes, "Jensen-Shannon with noise on both lines", r"$\theta$", "JS in nats", legend=False)
    axes.set(ylim=(-0.03, 0.95), xticks=TICKS)
    axes.legend(loc="upper center", ncols=2)
