"""Plots of real and generated points with the discriminator's score and its gradient; in one dimension, of densities.

They take the place of image grids if the data are points.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeGuard, cast

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from gancli.models.base import Adversarial, Model
from gancli.views import figures

REAL, GENERATED, SLOPE = figures.COLOURS[0], figures.COLOURS[1], "0.25"
SHOWN = 2500  # real points in a picture
GRID, ARROWS, LEVELS = 81, 21, 14  # points per side for the score and for its gradient; contour lines
SIZE = (6.4, 5.6)  # inches, the same for all pictures of a run, since they become the frames of one animation


class Window(NamedTuple):
    """The part of the plane or line that a picture shows."""

    low: np.ndarray  # (D,)
    high: np.ndarray  # (D,)


class Field(NamedTuple):
    """A discriminator's score on a regular grid, and its gradient there."""

    at: np.ndarray  # (n, ..., D) points
    score: np.ndarray  # (n, ...)
    gradient: np.ndarray  # (n, ..., D), of the score with respect to the point


def window(points: np.ndarray, margin: float = 0.25) -> Window:
    """Return a window that holds all points (N, D), with a relative margin; in the plane it is a square."""
    low, high = points.min(0), points.max(0)
    half = (0.5 + margin) * (high - low).max()
    middle = (low + high) / 2
    return Window(middle - half, middle + half)


def field(model: Adversarial, where: Window, n: int) -> Field:
    """Evaluate the discriminator at n points per side, in eval mode, without changing the model."""
    sides = [torch.linspace(float(a), float(b), n) for a, b in zip(where.low, where.high)]
    at = torch.stack(torch.meshgrid(*sides, indexing="xy"), -1)  # (n, ..., D)
    points = at.flatten(0, -2)[..., None, None].to(model.device).requires_grad_()
    with _in_eval(model.discriminator), torch.enable_grad():
        score = model.score(points)
        (gradient,) = torch.autograd.grad(score.sum(), points)
    shape = at.shape[:-1]
    return Field(at.numpy(), _host(score).reshape(shape), _host(gradient).reshape(at.shape))


def picture(model: Model, drawn: Tensor, real: np.ndarray, title: str) -> np.ndarray:
    """Draw generated points (N, D, 1, 1) over real ones (M, D, 1, 1), with the score of an adversarial model's
    discriminator: (H, W, 3) uint8."""
    real, points = real[:SHOWN].reshape(len(real[:SHOWN]), -1), _host(drawn.flatten(1))
    where = window(real)
    draw = {1: line, 2: plane}.get(real.shape[1], plane)
    return figures.pixels(draw(model, points, real, where, title))


def plane(model: Model, drawn: np.ndarray, real: np.ndarray, where: Window, title: str) -> Figure:
    """Draw points (N, D) and (M, D) in the plane of their first two coordinates."""
    figure, ((axes,),) = figures.panels(size=SIZE)
    if _judged(model) and real.shape[1] == 2:
        landscape(axes, field(model, where, GRID), field(model, where, ARROWS))
    dots(axes, drawn, real, where)
    figures.label(axes, title, "$x_1$", "$x_2$", legend=False)
    figure.legend(loc="outside lower center", ncols=2, markerscale=3)
    return figure


def dots(axes: Axes, drawn: np.ndarray, real: np.ndarray, where: Window) -> None:
    """Draw generated points (N, 2) over real ones (M, 2); the legend counts those outside the window."""
    outside = int(((drawn < where.low) | (drawn > where.high)).any(1).sum())
    name = f"{len(drawn):,} generated" + (f" ({outside:,} outside)" if outside else "")
    for points, colour, text, size in ((real, REAL, f"{len(real):,} real", 5), (drawn, GENERATED, name, 4)):
        axes.scatter(points[:, 0], points[:, 1], s=size, color=colour, linewidths=0, alpha=0.6, label=text)
    axes.set(xlim=(where.low[0], where.high[0]), ylim=(where.low[1], where.high[1]), aspect="equal")


def landscape(axes: Axes, score: Field, slope: Field) -> None:
    """Draw contour lines of the score with a colour bar, and arrows along its gradient."""
    low, high = np.quantile(score.score, (0.02, 0.98))
    levels = np.linspace(low, max(high, low + 1e-6), LEVELS)
    x, y = score.at[..., 0], score.at[..., 1]
    filled = axes.contourf(x, y, score.score, levels, cmap="Greys_r", alpha=0.5, extend="both")
    axes.contour(x, y, score.score, levels, colors="white", linewidths=0.5, linestyles="solid")
    axes.grid(False)
    scale = axes.inset_axes((1.03, 0, 0.035, 1))
    axes.figure.colorbar(filled, scale, label="score D(x), arrows: its gradient", format="%.2g")
    size = np.linalg.norm(slope.gradient, axis=-1, keepdims=True)
    arrows = slope.gradient / np.maximum(
        size, max(float(np.quantile(size, 0.5)), 1e-12)
    )  # length 1 in the steeper half
    axes.quiver(
        slope.at[..., 0], slope.at[..., 1], arrows[..., 0], arrows[..., 1],
        color=SLOPE, alpha=0.55, scale=ARROWS * 1.3, width=0.0025,
    )  # fmt: skip


def line(model: Model, drawn: np.ndarray, real: np.ndarray, where: Window, title: str) -> Figure:
    """Draw the densities of points (N, 1) and (M, 1) on a line, and below them the discriminator's score."""
    adversarial = _judged(model)
    figure, rows = figures.panels(1 + adversarial, size=(SIZE[0], SIZE[1] / (1 + adversarial)), sharex=True)
    top = rows[0, 0]
    edges = np.linspace(where.low[0], where.high[0], 81)
    for points, colour, text, kind in (
        (real, REAL, "real", "stepfilled"),
        (drawn, GENERATED, "generated", "step"),
    ):
        # Densities are relative to all points, not only to those in the window.
        weights = np.full(len(points), 1 / len(points) / (edges[1] - edges[0]))
        top.hist(
            points[:, 0],
            edges,
            weights=weights,
            histtype=kind,
            color=colour,
            alpha=0.7,
            label=f"{len(points):,} {text}",
        )
    figures.label(top, title, "" if adversarial else "$x$", "density")
    if adversarial:
        found = field(cast("Adversarial", model), where, 401)
        rows[1, 0].plot(found.at[..., 0], found.score, color=SLOPE)
        figures.label(rows[1, 0], "", "$x$", "score of the discriminator, D(x)", legend=False)
    return figure


def _judged(model: Model) -> TypeGuard[Adversarial]:
    """Return whether each location has one score; a conditional discriminator has one per class."""
    return isinstance(model, Adversarial) and not model.conditional


def _host(x: Tensor) -> np.ndarray:
    return x.detach().cpu().numpy()


@contextmanager
def _in_eval(network: nn.Module) -> Iterator[None]:
    """Turn off dropout and stop the power iteration of spectral normalisation."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
