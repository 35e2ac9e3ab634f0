"""The Gumbel-softmax distribution: Jang et al. 2017, Categorical Reparameterization with Gumbel-Softmax, Figure 1; also
Maddison et al. 2017, The Concrete Distribution.

y_i = softmax((log pi_i + g_i) / tau), g_i = -log(-log u_i). The largest y_i is that of a class drawn from pi at every
tau, which says how close y is to its one-hot vector. Below, gradients of E f(y) with respect to the logits, where y is
one-hot and f(y) = |y - t|^2: the exact one is a sum over the classes. Those of relaxed samples, and of straight-through
ones (a one-hot y forward, the slope of the relaxed one backward), are biased. The bias vanishes as tau falls, for
straight-through samples because f is quadratic, but their variances grow as 1 / tau. The score function f(y) d log pi
knows no tau and has no bias.

    gancli train experiment=lecture/gumbel_softmax
"""

import math
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Generator, Tensor

from gancli.lectures.base import Lecture, LectureContext
from gancli.ranges import Above, Positive, Signed
from gancli.views import figures

RELAXED, STRAIGHT, SCORE, BASELINE = ("Gumbel-softmax", "straight-through", "score function", "score, baseline E f")
SHOWN = 12  # samples that are drawn of each temperature
CURVE = torch.logspace(math.log10(0.05), math.log10(20), 27, dtype=torch.float64)  # temperatures of the curves


class GumbelSoftmax(Lecture):
    """Means and samples of y at several temperatures, how discrete they are, and bias and variance of gradients.

    Args:
        logits: of the classes, log pi up to a constant.
        temperatures: those whose means and samples are shown.
        target: t, a number for each class.
        samples: draws behind each number.
        batches: numbers of samples, for each of which the error of a mean gradient is drawn.

    Raises:
        ValueError: there are fewer than two classes, another number of targets, or no temperature or batch.
    """

    def __init__(
        self,
        logits: list[Signed],
        temperatures: list[Above],
        target: list[Signed],
        samples: Positive = 200_000,
        batches: list[Positive] | tuple[Positive, ...] = (1, 100),
    ) -> None:
        if len(logits) < 2 or len(target) != len(logits):
            raise ValueError(f"logits={logits} must be two or more, and target={target} as many")
        if not temperatures or not batches:
            raise ValueError(f"temperatures={temperatures} and batches={batches} must not be empty")
        self.logits, self.target = (torch.tensor(each, dtype=torch.float64) for each in (logits, target))
        self.temperatures, self.samples, self.batches = temperatures, samples, batches

    def draw(self, context: LectureContext) -> tuple[Figure, dict[str, Any]]:
        noise = gumbel((self.samples, len(self.logits)), torch.Generator().manual_seed(context.cfg.seed))
        exact = exact_gradient(self.logits, self.target)
        numbers: dict[str, Any] = {"pi": self.logits.softmax(0).tolist(), "exact_gradient": exact.tolist(), "tau": {}}
        for i, tau in enumerate(self.temperatures):
            context.show("temperatures", i, len(self.temperatures))
            y = relaxed(self.logits, noise, tau)
            share = y.argmax(1).bincount(minlength=len(self.logits)) / len(y)
            numbers["tau"][f"{tau:g}"] = {"mean": y.mean(0).tolist(), "argmax": share.tolist(), **discreteness(y)}
        curves: list[dict[str, Any]] = []
        for i, tau in enumerate(CURVE.tolist()):
            context.show("gradients", i, len(CURVE))
            y = relaxed(self.logits, noise, tau)
            found = {name: moments(each, exact) for name, each in relaxed_gradients(y, self.target, tau).items()}
            curves.append({"tau": tau, **discreteness(y), **found})
        numbers["curves"] = curves
        flat = score_gradients(self.logits, noise, self.target)
        numbers |= {name: moments(each, exact) for name, each in flat.items()}
        figure, axes = figures.panels(2, 3, size=(4.7, 3.7))
        _draw_means(axes[0, 0], numbers)
        _draw_samples(axes[0, 1], [relaxed(self.logits, noise[:SHOWN], tau) for tau in self.temperatures], numbers)
        _draw_discreteness(axes[0, 2], numbers, self.temperatures)
        _draw_gradients(axes[1], numbers, self.batches)
        figures.source(figure, "Jang et al. 2017, Figure 1; exact gradients by a sum over the classes")
        return figure, numbers


def gumbel(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Draw from the Gumbel distribution, float64."""
    u = torch.rand(shape, generator=generator, dtype=torch.float64).clamp(min=torch.finfo(torch.float64).tiny)
    return -(-u.log()).log()


def relaxed(logits: Tensor, noise: Tensor, tau: float) -> Tensor:
    """Return samples y, eq. 2. (K,), (N, K) -> (N, K)."""
    return ((logits + noise) / tau).softmax(1)


def discreteness(y: Tensor) -> dict[str, float]:
    """Return the means of the largest y_i and of the entropy of y in nats, and the trace of y's covariance."""
    return {
        "largest": y.amax(1).mean().item(),
        "entropy": torch.special.entr(y).sum(1).mean().item(),
        "variance": y.var(0).sum().item(),
    }


def exact_gradient(logits: Tensor, target: Tensor) -> Tensor:
    """Return the gradient of sum_c pi_c f(one-hot c) by the logits: pi_j (f_j - E f). (K,), (K,) -> (K,)."""
    pi, f = logits.softmax(0), costs(target)
    return pi * (f - pi @ f)


def costs(target: Tensor) -> Tensor:
    """Return f of every class's one-hot vector. (K,) -> (K,)."""
    return (torch.eye(len(target), dtype=target.dtype) - target).square().sum(1)


def relaxed_gradients(y: Tensor, target: Tensor, tau: float) -> dict[str, Tensor]:
    """Return samples of the gradient with respect to the logits by the slope of y: (N, K) -> (N, K) each."""
    hard = torch.nn.functional.one_hot(y.argmax(1), y.shape[1]).to(y.dtype)
    return {name: _through(y, 2 * (at - target), tau) for name, at in ((RELAXED, y), (STRAIGHT, hard))}


def _through(y: Tensor, slope: Tensor, tau: float) -> Tensor:
    """Return J^T f'(y) with J_ij = y_i ([i = j] - y_j) / tau."""
    return y * (slope - (y * slope).sum(1, keepdim=True)) / tau


def score_gradients(logits: Tensor, noise: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Return samples of f(y) d log pi_y / d logits, without and with a baseline: (N, K) each."""
    chosen, pi, f = (logits + noise).argmax(1), logits.softmax(0), costs(target)
    slope = torch.nn.functional.one_hot(chosen, len(logits)) - pi
    return {SCORE: f[chosen, None] * slope, BASELINE: (f[chosen, None] - pi @ f) * slope}


def moments(gradient: Tensor, exact: Tensor) -> dict[str, float]:
    """Return the length of the bias, its standard error, and the variance summed over the logits. (N, K), (K,)."""
    variance = gradient.var(0).sum().item()
    bias = (gradient.mean(0) - exact).norm().item()
    return {"bias": bias, "standard_error": math.sqrt(variance / len(gradient)), "variance": variance}


def _draw_means(axes: Axes, numbers: dict[str, Any]) -> None:
    rows = {"π": numbers["pi"]} | {f"τ = {tau}": each["mean"] for tau, each in numbers["tau"].items()}
    width = 0.8 / len(rows)
    for i, (name, row) in enumerate(rows.items()):
        at = [c + (i - (len(rows) - 1) / 2) * width for c in range(len(row))]
        colour = "0.35" if not i else figures.COLOURS[(i - 1) % len(figures.COLOURS)]
        axes.bar(at, row, width, color=colour, label=name)
    axes.set_xticks(range(len(numbers["pi"])), [str(c + 1) for c in range(len(numbers["pi"]))])
    axes.axhline(1 / len(numbers["pi"]), color="black", ls=":", lw=1)
    figures.label(axes, "means E[y]; dotted: uniform", "class", "probability")


def _draw_samples(axes: Axes, samples: list[Tensor], numbers: dict[str, Any]) -> None:
    """Draw samples of every temperature from the same noise, a row each; dark is 1."""
    gap = torch.full((len(samples[0]), 1), math.nan, dtype=torch.float64)
    columns = [each for y in samples for each in (y, gap)][:-1]
    image = axes.imshow(torch.cat(columns, 1), cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="none")
    classes = samples[0].shape[1]
    middles = [i * (classes + 1) + (classes - 1) / 2 for i in range(len(samples))]
    axes.set_xticks(middles, [f"τ = {tau}" for tau in numbers["tau"]])
    axes.set_yticks([])
    axes.grid(visible=False)
    colours = axes.get_figure()
    assert colours is not None
    colours.colorbar(image, ax=axes, label="y", fraction=0.05)
    figures.label(axes, "samples, the same noise in each row", f"{classes} classes at each τ", "", legend=False)


def _draw_discreteness(axes: Axes, numbers: dict[str, Any], temperatures: list[float]) -> None:
    tau, pi = [each["tau"] for each in numbers["curves"]], torch.tensor(numbers["pi"], dtype=torch.float64)
    for key, name, colour in zip(
        ("largest", "entropy", "variance"), ("E max y", "E H(y), nats", "Σ Var y"), figures.COLOURS
    ):
        axes.plot(tau, [each[key] for each in numbers["curves"]], color=colour, lw=2, label=name)
        axes.plot(temperatures, [each[key] for each in numbers["tau"].values()], "o", ms=5, color=colour)
    limits = (math.log(len(pi)), (1 - pi.square().sum()).item())
    for limit, colour in zip(limits, figures.COLOURS[1:]):
        axes.axhline(limit, color=colour, ls=":", lw=1.2)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    figures.label(axes, "from one-hot to uniform; dotted: limits", "temperature τ", "value", legend=False)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(0.0, 0.68))


def _draw_gradients(axes: Any, numbers: dict[str, Any], batches: Any) -> None:
    """Draw bias, variance and the error of a mean of several samples, against the temperature."""
    tau, length = [each["tau"] for each in numbers["curves"]], math.hypot(*numbers["exact_gradient"])
    colours = dict(zip((RELAXED, STRAIGHT, SCORE, BASELINE), figures.COLOURS))
    for name, colour in colours.items():
        rows = [each.get(name, numbers.get(name)) for each in numbers["curves"]]
        flat = {"ls": "--"} if name in numbers else {}
        if name not in numbers:
            bias, error = ([each[key] for each in rows] for key in ("bias", "standard_error"))
            axes[0].plot(tau, bias, color=colour, lw=2, label=name)
            low = [max(0.0, b - 2 * e) for b, e in zip(bias, error)]
            axes[0].fill_between(tau, low, [b + 2 * e for b, e in zip(bias, error)], color=colour, alpha=0.2, lw=0)
        axes[1].plot(tau, [each["variance"] for each in rows], color=colour, lw=2, label=name, **flat)
        for n, width in zip(batches, (1.2, 2.4, 3.6)):
            if name != BASELINE:
                exact = name in numbers
                error = [math.sqrt((not exact) * each["bias"] ** 2 + each["variance"] / n) for each in rows]
                axes[2].plot(tau, error, color=colour, lw=width, label=f"{name}, n = {n}", **flat)
    axes[0].axhline(length, color="black", ls=":", lw=1.2, label="length of the exact gradient")
    axes[1].set_yscale("log")
    axes[2].axhline(length, color="black", ls=":", lw=1.2)
    axes[2].set_yscale("log")
    for each, title, y in zip(
        axes, ("bias of the gradient (band: two errors)", "variance of one sample", "error of the mean of n samples"),
        ("length of the bias", "trace of the covariance", "root mean square error"),
    ):  # fmt: skip
        each.set_xscale("log")
        each.xaxis.set_major_formatter("{x:g}")
        figures.label(each, title, "temperature τ", y, legend=False)
    axes[0].set_ylim(
        0, 1.4 * max(length, *(each[name]["bias"] for each in numbers["curves"] for name in (RELAXED, STRAIGHT)))
    )
    axes[0].legend(fontsize=8, loc="upper left")
    axes[1].legend(fontsize=8)
    axes[2].legend(fontsize=7)
