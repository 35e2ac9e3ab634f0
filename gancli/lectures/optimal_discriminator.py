"""The optimal discriminator: Goodfellow et al. 2014, Generative Adversarial Networks, proposition 1 and theorem 1.

For data N(0, 1) and a generator N(d, 1), D* = p / (p + q), whose logit is the line (d^2 - 2 d x) / 2, and the value of
the game at D* is V* = -log 4 + 2 JSD. Both are shown in closed form, by quadrature, and as learned by a discriminator.
The figure also shows why the generator needs the non-saturating loss: for a generator that shifts its points, the
gradients of the two losses with respect to d add up to d.

    gancli train experiment=lecture/optimal_discriminator
"""

import math
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from gancli.lectures.base import Lecture, LectureContext
from gancli.lectures.players import Line, Shifted, adversarial_model, critic_alone, jsd, log_normal, scores
from gancli.losses.adversarial import AdversarialLoss, Minimax, NonSaturating
from gancli.views import figures


class OptimalDiscriminator(Lecture):
    """D* and V* over the distance d of two normal distributions, and the generator's two gradients.

    Args:
        distances: values of d, with one discriminator each.
        shown: the distance of the first panel.
        learned: also train discriminators with the config's model, loss and optimizer on its data, which is N(0, 1).

    Raises:
        ValueError: there is no distance, or one is below 0.
    """

    def __init__(self, distances: list[float], shown: float = 2.0, learned: bool = True) -> None:
        if not distances or min(*distances, shown) < 0:
            raise ValueError(f"distances={distances} and shown={shown}: give at least one, all 0 or more")
        self.distances, self.shown, self.learned = sorted(distances), shown, learned

    def draw(self, context: LectureContext) -> tuple[Figure, dict[str, Any]]:
        distances = sorted({*self.distances, self.shown})
        table = {d: closed_form(d) for d in distances}
        logits = {}
        for i, d in enumerate(distances if self.learned else ()):
            logits[d], line = self._learn(context, d, i, len(distances)), _line(d)
            table[d]["V_learned"] = value(line, logits[d], d)
        figure, axes = figures.panels(1, 3, size=(4.6, 3.9))
        left, middle, right = axes[0]
        _draw_discriminator(left, self.shown, logits.get(self.shown))
        _draw_value(middle, table)
        _draw_gradients(right)
        figures.source(figure, "Goodfellow et al. 2014, proposition 1, theorem 1 and section 3")
        return figure, {"by_d": {f"{d:g}": table[d] for d in distances}}

    def _learn(self, context: LectureContext, d: float, i: int, n: int) -> Tensor:
        """Return the logits that a discriminator learns, at the quadrature points."""
        run = context.build()
        run.model.generator = Shifted(d).to(run.model.device)
        for _ in critic_alone(run):
            context.show("discriminators", i * run.total + run.images, n * run.total)
        return scores(adversarial_model(run), _line(d).x)


def _line(d: float) -> Line:
    return Line.over(-12, d + 12)


def value(line: Line, logit: Tensor, d: float) -> float:
    """Return V = E_p log D + E_q log(1 - D) of any discriminator, by quadrature."""
    loss = Minimax()
    return -line.integral(line.normal(0) * loss.on_real(logit) + line.normal(d) * loss.on_fake(logit))


def best_logit(x: Tensor, d: float) -> Tensor:
    """Return log p/q of N(0, 1) and N(d, 1): the logit of D*."""
    return (d**2 - 2 * d * x) / 2


def closed_form(d: float) -> dict[str, float]:
    """Return the known quantities for N(0, 1) and N(d, 1), each by quadrature of its definition."""
    line = _line(d)
    log_p, log_q = log_normal(line.x, 0), log_normal(line.x, d)
    p, q = log_p.exp(), log_q.exp()
    divergence = jsd(log_p, log_q, line)
    return {
        "V": value(line, best_logit(line.x, d), d),
        "minus_log4_plus_2JSD": -math.log(4) + 2 * divergence,
        "JSD": divergence,
        "gradient_saturating": abs(gradient(Minimax(), d)),
        "gradient_nonsaturating": abs(gradient(NonSaturating(), d)),
        "W1": line.integral((torch.cumsum(p - q, 0) * line.dx).abs()),
        "bayes_accuracy": line.integral(torch.maximum(p, q)) / 2,
    }


def gradient(loss: AdversarialLoss, d: float) -> float:
    """Return the derivative with respect to d of the loss of a generator N(d, 1), with D* held fixed."""
    line = Line.over(-12, 12)  # the latents
    shift = torch.tensor(d, dtype=torch.float64, requires_grad=True)
    paid = (line.normal(0) * loss.on_generated(best_logit(line.x + shift, d))).sum() * line.dx
    (slope,) = torch.autograd.grad(paid, shift)
    return slope.item()


def _draw_discriminator(axes: Axes, d: float, learned: Tensor | None) -> None:
    line, (low, high) = _line(d), (-3.5, d + 3.5)
    inside = (line.x >= low) & (line.x <= high)
    x = line.x[inside]
    for name, mean, colour in (("data p", 0, figures.COLOURS[0]), ("generated q", d, figures.COLOURS[1])):
        axes.fill_between(x, line.normal(mean)[inside], alpha=0.25, color=colour, lw=0, label=name)
    axes.plot(x, best_logit(x, d).sigmoid(), color="black", lw=2, label=r"$D^* = p\,/\,(p + q)$")
    if learned is not None:
        axes.plot(x, learned[inside].sigmoid(), "--", color=figures.COLOURS[2], lw=2, label="learned D")
    figures.label(axes, f"The optimal discriminator, d = {d:g}", "x", "density; D(x)", legend=False)
    axes.set(xlim=(low, high), ylim=(0, 1.04))
    axes.legend(loc="center right")


def _draw_value(axes: Axes, table: dict[float, dict[str, float]]) -> None:
    dense = np.linspace(0, max(8.0, *table), 81)
    axes.plot(dense, [closed_form(d)["V"] for d in dense], color="black", lw=2, label=r"$V(D^*)$")
    known = [row["minus_log4_plus_2JSD"] for row in table.values()]
    axes.plot(list(table), known, "o", color=figures.COLOURS[1], ms=7, label=r"$-\log 4 + 2\,$JSD")
    learned = {d: row["V_learned"] for d, row in table.items() if "V_learned" in row}
    axes.plot(list(learned), list(learned.values()), "x", color=figures.COLOURS[2], ms=9, mew=2, label="learned D")
    axes.axhline(-math.log(4), ls=":", color="0.5")
    axes.annotate(r"$-\log 4$", (dense[-1], -math.log(4)), ha="right", va="bottom", color="0.35")
    figures.label(axes, "The value of the game", "distance d", "V in nats", legend=False)
    axes.legend(loc="center right")


def _draw_gradients(axes: Axes) -> None:
    dense = np.linspace(0, 8, 81)
    both = [[abs(gradient(loss, d)) for d in dense] for loss in (Minimax(), NonSaturating())]
    axes.plot(dense, both[0], lw=2, label=r"saturating, $\log(1 - D)$")
    axes.plot(dense, both[1], lw=2, label=r"non-saturating, $-\log D$")
    axes.plot(dense, np.sum(both, 0), "--", color="black", lw=1.2, label="their sum: d")
    axes.axhline(1, ls=":", color=figures.COLOURS[2], lw=2, label="Wasserstein distance: 1")
    figures.label(axes, "The generator's gradient", "distance d", "|expected gradient w.r.t. d|")
