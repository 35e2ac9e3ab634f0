"""Two gradients of E f(z), z ~ N(m, s^2 I), with respect to m: both without bias, one with far less variance.

The score function f(z) (z - m) / s^2 (Williams 1992) needs no more than values of f; the pathwise gradient f'(m + s e),
e ~ N(0, I), needs its slope: the reparametrisation of Kingma & Welling 2014, section 2.4, and Rezende et al. 2014. For
f(z) = |z|^2 / 2 the variance of the first grows as the square of the dimension, with a baseline (E f subtracted from f)
in proportion to it, while that of the second is s^2 in any. It depends on f, though: the larger w is, the steeper is
sin(w z), but no higher, so that the score function wins where w s is large.

All variances are closed forms, and measured beside.

    gancli train experiment=lecture/reparametrisation
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Generator, Tensor

from gancli.lectures.base import Lecture, LectureContext
from gancli.ranges import Above, Positive
from gancli.views import figures

SCORE, BASELINE, PATHWISE = ESTIMATORS = ("score function", "score function, baseline E f", "pathwise")
SCALES = (0.03, 30.0)  # of s in the figure
PHASE = 0.5  # m of sin(w z)
PART = 2**20  # random numbers at a time
Variances = dict[str, float]


class Reparametrisation(Lecture):
    """Variances of both gradients over the dimension, the scale and the frequency of f; and a descent with each.

    Args:
        dimensions: the largest dimension d; m is (1, ..., 1).
        std: s, where it is not what changes.
        samples: draws behind each measured variance.
        steps: of the descent.
        rate: its learning rate.
        descended: its dimension.
    """

    def __init__(
        self, dimensions: Positive = 1000, std: Above = 1.0, samples: Positive = 20000, steps: Positive = 300,
        rate: Above = 0.01, descended: Positive = 10,
    ) -> None:  # fmt: skip
        self.dimensions, self.std, self.samples = dimensions, std, samples
        self.steps, self.rate, self.descended = steps, rate, descended

    def draw(self, context: LectureContext) -> tuple[Figure, dict[str, Any]]:
        generator = torch.Generator().manual_seed(context.cfg.seed)
        s = self.std
        figure, axes = figures.panels(2, 2, size=(5.4, 4.0))
        sweeps: list[tuple[str, Sequence[float], Callable[..., Variances], Callable[..., Variances]]] = [
            ("dimension", spaced(1, self.dimensions, 10), lambda d: quadratic(int(d), s),
             lambda d: measured_quadratic(int(d), s, self.samples, generator)),
            ("scale", spaced(*SCALES, 10), lambda scale: quadratic(self.descended, scale),
             lambda scale: measured_quadratic(self.descended, scale, self.samples, generator)),
            ("frequency", spaced(0.1 / s, 10 / s, 13), lambda w: sine(w, s),
             lambda w: measured_sine(w, s, self.samples, generator)),
        ]  # fmt: skip
        numbers: dict[str, Any] = {}
        for i, (name, at, closed, measure) in enumerate(sweeps):
            context.show(name, i, len(sweeps) + 1)
            at = sorted({float(round(x)) for x in at}) if name == "dimension" else at
            rows = [{"closed_form": closed(x), "measured": measure(x)} for x in at]
            numbers[name] = {f"{x:g}": row for x, row in zip(at, rows)}
            _draw_variances(axes.flat[i], at, rows, closed, name == "dimension")
        context.show("descent", len(sweeps), len(sweeps) + 1)
        curves = {name: self._descend(name, context.cfg.seed) for name in ESTIMATORS}
        numbers["descent"] = {name: curve[-1] for name, curve in curves.items()}
        floor = s**2 * self.descended / 2
        _draw_descent(axes[1, 1], curves, floor)
        y = "variance of the gradient of one mean"
        figures.label(axes[0, 0], f"f = |z|² / 2, m = (1, ..., 1), s = {s:g}", "dimension d", y)
        figures.label(axes[0, 1], f"f = |z|² / 2 in {self.descended} dimensions", "scale s", y, legend=False)
        figures.label(axes[1, 0], f"f = sin(ω z), m = {PHASE:g}, s = {s:g}", "frequency ω", y, legend=False)
        figures.label(
            axes[1, 1], f"descent in {self.descended} dimensions, rate {self.rate:g}, one sample a step",
            "steps", "E f", legend=False,
        )  # fmt: skip
        figures.source(figure, "lines: closed forms, dots: measured; Kingma & Welling 2014, section 2.4; Williams 1992")
        return figure, numbers

    def _descend(self, name: str, seed: int) -> list[float]:
        """Return E f = (|m|^2 + s^2 d) / 2 before each step of gradient descent on m, and after the last."""
        generator, d = torch.Generator().manual_seed(seed), self.descended
        mean, curve = torch.ones(d, dtype=torch.float64), []
        for _ in range(self.steps + 1):
            value = (mean.square().sum().item() + self.std**2 * d) / 2
            curve.append(value)
            noise = torch.randn(1, d, generator=generator, dtype=torch.float64)
            mean = mean - self.rate * gradients(mean, self.std, noise)[name][0]
        return curve


def spaced(low: float, high: float, n: int) -> list[float]:
    """Return n numbers from ``low`` to ``high``, logarithmically spaced."""
    return torch.logspace(math.log10(low), math.log10(high), n, dtype=torch.float64).tolist()


def gradients(mean: Tensor, s: float, noise: Tensor) -> dict[str, Tensor]:
    """Return samples of the gradients of E |z|^2 / 2 by their names: (d,), (N, d) standard normal -> (N, d)."""
    z = mean + s * noise
    f = z.square().sum(1, keepdim=True) / 2
    expected = (mean.square().sum() + s**2 * len(mean)) / 2
    return {SCORE: f * noise / s, BASELINE: (f - expected) * noise / s, PATHWISE: z}


def quadratic(d: int, s: float) -> Variances:
    """Return the variances of one component of the gradients of E |z|^2 / 2 at m = (1, ..., 1), in closed form.

    With f = |m|^2 / 2 + s m.e + s^2 |e|^2 / 2, odd moments of e vanish, and E e_1^2 (m.e)^2 = d + 2,
    E e_1^2 |e|^2 = d + 2, E e_1^2 |e|^4 = (d + 2)(d + 4).
    """
    square = (d**2 + 4 * s**2 * (d + 2) + s**4 * (d + 2) * (d + 4) + 2 * s**2 * d * (d + 2)) / 4  # E f^2 e_1^2
    once, expected = (d + s**2 * (d + 2)) / 2, (d + s**2 * d) / 2  # E f e_1^2, E f
    return {
        SCORE: square / s**2 - 1,
        BASELINE: (square - 2 * expected * once + expected**2) / s**2 - 1,
        PATHWISE: s**2,
    }


def measured_quadratic(d: int, s: float, samples: int, generator: Generator) -> Variances:
    """Return the variances of quadratic(), averaged over the components, from samples."""
    mean, total, count = torch.ones(d, dtype=torch.float64), dict.fromkeys(ESTIMATORS, 0.0), 0
    while count < samples:
        n = min(samples - count, max(1, PART // d))
        found = gradients(mean, s, torch.randn(n, d, generator=generator, dtype=torch.float64))
        for name, each in found.items():
            total[name] += (each - 1).square().mean(1).sum().item()  # the gradient is m
        count += n
    return {name: each / samples for name, each in total.items()}


def sine(w: float, s: float) -> Variances:
    """Return the variances of the gradients of E sin(w z) at m = PHASE, in closed form.

    From E cos(a + t e) = cos(a) exp(-t^2 / 2) and E e^2 cos(a + t e) = (1 - t^2) cos(a) exp(-t^2 / 2).
    """
    t, double = w * s, math.cos(2 * w * PHASE) * math.exp(-2 * (w * s) ** 2)
    damp = math.exp(-(t**2) / 2)
    gradient, expected = w * math.cos(w * PHASE) * damp, math.sin(w * PHASE) * damp
    square = (1 - (1 - 4 * t**2) * double) / 2  # E f^2 e^2
    return {
        SCORE: square / s**2 - gradient**2,
        BASELINE: (square - 2 * expected**2 * (1 - t**2) + expected**2) / s**2 - gradient**2,
        PATHWISE: w**2 * (1 + double) / 2 - gradient**2,
    }


def measured_sine(w: float, s: float, samples: int, generator: Generator) -> Variances:
    """Return the variances of sine() from samples."""
    noise = torch.randn(samples, generator=generator, dtype=torch.float64)
    z = PHASE + s * noise
    expected = math.sin(w * PHASE) * math.exp(-((w * s) ** 2) / 2)
    found = {
        SCORE: z.mul(w).sin() * noise / s,
        BASELINE: (z.mul(w).sin() - expected) * noise / s,
        PATHWISE: w * z.mul(w).cos(),
    }
    return {name: each.var(correction=0).item() for name, each in found.items()}


def _draw_variances(
    axes: Axes, at: Sequence[float], rows: list[dict[str, Variances]], closed: Callable[..., Variances], whole: bool
) -> None:
    """Draw closed forms as lines and what was measured as dots; ``whole``: lines have points at whole numbers alone."""
    line = list(at) if whole else spaced(at[0], at[-1], 200)
    values = [closed(x) for x in line]
    for name, colour, marker in zip(ESTIMATORS, figures.COLOURS, "os^"):
        axes.plot(line, [each[name] for each in values], color=colour, lw=2)
        axes.plot(at, [row["measured"][name] for row in rows], marker, color=colour, ms=5, label=name)
    axes.set(xscale="log", yscale="log")


def _draw_descent(axes: Axes, curves: dict[str, list[float]], floor: float) -> None:
    for (name, curve), colour in zip(curves.items(), figures.COLOURS):
        axes.plot(curve, color=colour, lw=1.5, label=name)
    axes.axhline(floor, color="black", ls="--", lw=1, label="the least, at m = 0")
    top = 1.5 * curves[PATHWISE][0]
    axes.set_ylim(0.8 * floor, top)
    axes.legend(fontsize=8, loc="upper right")
