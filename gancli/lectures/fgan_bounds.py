"""The bounds of f-GAN: Nowozin, Cseke & Tomioka 2016, eq. 4, E_P[T] - E_Q[f*(T)] <= D_f(P || Q), as T learns.

P = N(0, 1) and Q = N(d, 1), for which all six divergences are known. T is trained on samples. Its bound is then
computed by quadrature, which is exact: it may touch the divergence but never exceed it, whereas batch estimates may.

    gancli train experiment=lecture/fgan_bounds
"""

import math
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from gancli.lectures.base import Lecture, LectureContext
from gancli.lectures.players import Line, Shifted, adversarial_model, critic_alone, jsd, log_normal, scores
from gancli.losses.fgan import FGAN
from gancli.ranges import Signed
from gancli.views import figures

NATS = ("kl", "reverse_kl", "jensen_shannon", "gan")


class FGANBounds(Lecture):
    """Six divergences, and the bound on each over the updates of T.

    Args:
        divergences: config node of f-GAN's loss for each divergence.
        titles: panel titles by divergence.
        distance: d.
        looks: number of times that each bound is computed during training.

    Raises:
        ValueError: ``looks`` is below 1.
    """

    def __init__(
        self, divergences: dict[str, Any], titles: dict[str, str], distance: Signed = 1.0, looks: int = 60
    ) -> None:
        if looks < 1:
            raise ValueError(f"looks={looks} must be 1 or more")
        self.divergences, self.titles, self.distance, self.looks = divergences, titles, distance, looks

    def draw(self, context: LectureContext) -> tuple[Figure, dict[str, Any]]:
        known = true_divergences(self.distance)
        figure, axes = figures.panels(2, math.ceil(len(self.divergences) / 2), size=(4.2, 3.2))
        numbers = {}
        for i, (name, node) in enumerate(self.divergences.items()):
            curve = self._learn(context, name, node, i)
            bounds = [bound for _, bound, _ in curve]
            truth = known[node["divergence"]]
            numbers[name] = {
                "divergence": truth,
                "bound": bounds[-1],
                "gap": (truth - bounds[-1]) / abs(truth),
                "highest_bound": max(bounds),
                "updates": [updates for updates, _, _ in curve],
                "bounds": bounds,
            }
            _draw(axes.flat[i], self.titles.get(name, name), curve, truth)
            axes.flat[i].set_ylabel("nats" if node["divergence"] in NATS else "no unit")
        for spare in axes.flat[len(self.divergences) :]:
            spare.set_axis_off()
        figures.source(figure, f"Nowozin, Cseke & Tomioka 2016, eq. 4; N(0, 1) and N({self.distance:g}, 1)")
        return figure, {"d": self.distance, **numbers}

    def _learn(self, context: LectureContext, name: str, node: Any, i: int) -> list[tuple[int, float, float]]:
        """Return (updates, bound, batch estimate of the bound), at logarithmically spaced updates."""
        run = context.build(loss=node)
        assert isinstance(run.loss, FGAN)
        run.model.generator = Shifted(self.distance).to(run.model.device)
        line = Line.over(-12, 12 + self.distance, 4001)
        last = -(-run.total // run.loader.batch_size)
        due = set(torch.logspace(0, math.log10(last), self.looks).round().int().tolist()) | {last}
        curve = []
        for updates, scalars in enumerate(critic_alone(run), 1):
            context.show(name, updates, last)
            if updates in due:
                estimate = scalars["discriminator/bound"].item()
                curve.append(
                    (updates, bound(run.loss, line, scores(adversarial_model(run), line.x), self.distance), estimate)
                )
        return curve


def bound(loss: FGAN, line: Line, score: Tensor, d: float) -> float:
    """Return E_P[T] - E_Q[f*(T)] for the scores of T at the line's points, by quadrature."""
    return -line.integral(line.normal(0) * loss.on_real(score) + line.normal(d) * loss.on_fake(score))


def true_divergences(d: float) -> dict[str, float]:
    """Return D_f(N(0, 1) || N(d, 1)) in closed form, in the paper's conventions; Jensen-Shannon by quadrature."""
    line = Line.over(-12, 12 + d)
    twice = 2 * jsd(log_normal(line.x, 0), log_normal(line.x, d), line)
    return {
        "kl": d**2 / 2,
        "reverse_kl": d**2 / 2,
        "pearson": math.expm1(d**2),
        "squared_hellinger": 2 - 2 * math.exp(-(d**2) / 8),
        "jensen_shannon": twice,
        "gan": twice - math.log(4),
    }


def _draw(axes: Axes, title: str, curve: list[tuple[int, float, float]], truth: float) -> None:
    updates, bounds, estimates = zip(*curve)
    axes.plot(updates, estimates, ".", color="0.6", ms=4, label="batch estimate")
    axes.plot(updates, bounds, lw=2, label="bound of T")
    axes.axhline(truth, ls="--", color=figures.COLOURS[1], lw=1.5, label=f"divergence, {truth:.6g}")
    axes.set(xscale="log", ylim=(truth - 1.2 * abs(truth), truth + 0.4 * abs(truth)))
    figures.label(axes, title, "updates of T", "", legend=False)
    axes.legend(loc="lower right", fontsize=8)
