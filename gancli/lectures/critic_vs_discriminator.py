"""A discriminator saturates where a critic does not: Arjovsky, Chintala & Bottou 2017, Wasserstein GAN, figure 2.

The data are N(0, 1), and the generator N(d, 1); they hardly overlap. The optimal discriminator is flat at the generated
points, so the saturating loss gives them no gradient. The optimal critic of slope 1 is a line, f(x) = -x.

    gancli train experiment=lecture/critic_vs_discriminator
"""

from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from gancli.lectures.base import Lecture, LectureContext
from gancli.lectures.optimal_discriminator import best_logit
from gancli.lectures.players import Line, Shifted, adversarial_model, critic_alone, scores, slope
from gancli.losses.adversarial import Minimax
from gancli.ranges import Signed
from gancli.views import figures

LABELS = {"penalised": "gradient penalty", "clipped": "clipped weights, divided by K"}


class CriticVsDiscriminator(Lecture):
    """The scores of discriminator and critics along the line, and the gradient that each gives a generated point.

    Args:
        players: config nodes of a ``discriminator`` and of the critics ``penalised`` and ``clipped``.
        distance: d.

    Raises:
        ValueError: the distance is not positive.
    """

    def __init__(self, players: dict[str, Any], distance: Signed = 6.0) -> None:
        if distance <= 0:
            raise ValueError(f"distance={distance} must be above 0")
        self.players, self.distance = players, distance

    def draw(self, context: LectureContext) -> tuple[Figure, dict[str, Any]]:
        d = self.distance
        line = Line.over(-4, d + 4, 2001)
        learned: dict[str, tuple[Tensor, Tensor]] = {}  # the score and its slope at the points
        for i, (name, nodes) in enumerate(self.players.items()):
            run = context.build(**nodes)
            run.model.generator = Shifted(d).to(run.model.device)
            for _ in critic_alone(run):
                context.show("players", i * run.total + run.images, len(self.players) * run.total)
            model = adversarial_model(run)
            learned[name] = scores(model, line.x), slope(model, line.x)
        numbers = {name: measure(line, d, *found, name) for name, found in learned.items()}
        best = best_logit(line.x, d)
        numbers["closed_form"] = measure(line, d, best, torch.full_like(best, -d), "discriminator") | {"W1": d}
        figure, axes = figures.panels(1, 3, size=(4.6, 3.9))
        _draw_discriminator(axes[0, 0], line, d, best, learned["discriminator"][0])
        critics = {name: (numbers[name]["K"], *found) for name, found in learned.items() if name != "discriminator"}
        _draw_critics(axes[0, 1], line, d, critics)
        _draw_gradients(axes[0, 2], line, d, best, learned["discriminator"], critics)
        figures.source(figure, "Arjovsky, Chintala & Bottou 2017, figure 2")
        return figure, {"d": d, **numbers}


def saturating(score: Tensor, derivative: Tensor) -> Tensor:
    """Return |d log(1 - D) / dx| for given scores: the gradient at a generated point under the saturating loss."""
    score = score.clone().requires_grad_()
    (outer,) = torch.autograd.grad(Minimax().on_generated(score).sum(), score)
    return (outer * derivative).abs()


def measure(line: Line, d: float, score: Tensor, derivative: Tensor, kind: str) -> dict[str, float]:
    """Return statistics of a discriminator or critic on N(0, 1) and N(d, 1), by quadrature.

    ``K``: a critic's mean slope between the two means, 1 + W1 / (2 lambda) under a gradient penalty of weight lambda;
    ``distance``: E f(x) - E f(G(z)), an estimate of K times W1;
    ``gradient``: the mean gradient magnitude at generated points, of the saturating loss or of a critic divided by K.
    """
    p, q = line.normal(0), line.normal(d)
    if kind == "discriminator":
        return {"gradient": line.integral(q * saturating(score, derivative))}
    between = (line.x >= 0) & (line.x <= d)
    k = -derivative[between].mean().item()
    distance = line.integral((p - q) * score)
    return {"K": k, "distance": distance, "distance_over_K": distance / k} | {
        "gradient": line.integral(q * derivative.abs()) / k
    }


def _backdrop(axes: Axes, line: Line, d: float, height: float = 1.0, base: float = 0.0) -> None:
    """Draw the densities of the data and the generated points."""
    for name, mean, colour in (("data", 0.0, figures.COLOURS[0]), ("generated", d, figures.COLOURS[1])):
        density = base + height * line.normal(mean)
        axes.fill_between(line.x, base, density, alpha=0.25, color=colour, lw=0, label=name)


def _draw_discriminator(axes: Axes, line: Line, d: float, best: Tensor, learned: Tensor) -> None:
    _backdrop(axes, line, d)
    axes.plot(line.x, best.sigmoid(), color="black", lw=2, label=r"$D^*$")
    axes.plot(line.x, learned.sigmoid(), "--", color=figures.COLOURS[2], lw=2, label="learned D")
    figures.label(axes, "The discriminator saturates", "x", "D(x); density")


def _draw_critics(axes: Axes, line: Line, d: float, critics: dict[str, tuple[float, Tensor, Tensor]]) -> None:
    _backdrop(axes, line, d, 8, -d / 2 - 4)
    axes.plot(line.x, d / 2 - line.x, color="black", lw=2, label="f(x) = d/2 - x")
    middle = (line.x - d / 2).abs().argmin()
    for i, (name, (k, f, _)) in enumerate(critics.items()):
        shown = (f - f[middle]) / (k if name == "clipped" else 1.0)
        axes.plot(line.x, shown, "--", color=figures.COLOURS[2 + i], lw=2, label=LABELS.get(name, name))
    figures.label(axes, "The critic does not", "x", "f(x), shifted to 0 in the middle", legend=False)
    axes.set(ylim=(-d / 2 - 4, d / 2 + 6))
    axes.legend(loc="upper right", fontsize=8)


def _draw_gradients(
    axes: Axes,
    line: Line,
    d: float,
    best: Tensor,
    learned: tuple[Tensor, Tensor],
    critics: dict[str, tuple[float, Tensor, Tensor]],
) -> None:
    axes.axvspan(d - 2, d + 2, color=figures.COLOURS[1], alpha=0.12, lw=0, label="95 % of generated points")
    axes.plot(line.x, saturating(best, torch.full_like(best, -d)), color="black", lw=2, label=r"$\log(1 - D^*)$")
    axes.plot(line.x, saturating(*learned), "--", color=figures.COLOURS[2], lw=2, label="log(1 - learned D)")
    for i, (name, (k, _, derivative)) in enumerate(critics.items()):
        shown = derivative.abs() / (k if name == "clipped" else 1.0)
        text = f"critic, {LABELS.get(name, name)}"
        axes.plot(line.x, shown, color=figures.COLOURS[(1, 3)[i % 2]], lw=1.5, label=text)
    figures.label(axes, "Gradient at a generated point", "x", "|gradient in x|", legend=False)
    axes.set(yscale="log", ylim=(1e-9, 1e3))
    axes.legend(loc="lower left", fontsize=8)
