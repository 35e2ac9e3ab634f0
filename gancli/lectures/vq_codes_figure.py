"""The figure of vq_codes.py: points, codes, the cells of the nearest code, and convex hulls in a plane."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from gancli.views import figures

FINE = 400  # pixels of a side, in which cells are drawn
SHOWN = 900  # images that are drawn as points
CLASSES = colormaps["tab10"]


def draw(
    looks: Mapping[str, Any], drawn: Mapping[float, tuple[Tensor, Tensor]], vectors: Tensor, numbers: dict[str, Any],
    label: Tensor,
) -> Figure:  # fmt: skip
    """Return the figure.

    Args:
        looks: ``shown``, three of the first codebook; ``random`` and ``data``, all of both; ``lattice``, the last.
        drawn: relaxed codes (N, 2) and the largest part of each (N,), by temperature.
        vectors: those that they are means of, (K, 2).
        numbers: of the lecture.
        label: class of each image, (N,).
    """
    figure, axes = figures.panels(2, 4, size=(4.1, 4.0))
    for ax, look in zip(axes[0], looks["shown"]):
        before = [each for each in looks["random"] if each.images <= look.images]
        _draw_codebook(ax, look, before, label)
        _named(ax, f"codebook, random start: {look.images:,} images")
    last = looks["data"][-1]
    _draw_codebook(axes[0, 3], last, looks["data"], label)
    _named(axes[0, 3], f"started at data, restarts: {last.images:,} images")
    _draw_lattice(axes[1, 0], looks["lattice"], label)
    for ax, (tau, (z, index)) in zip(axes[1, 1:3], drawn.items()):
        _draw_relaxed(ax, z, index, vectors, label)
        _named(ax, f"Gumbel-softmax, τ = {tau:g}")
    shown = axes[1, 1].legend(loc="upper left", fontsize=8, frameon=True, framealpha=0.85)
    for handle in shown.legend_handles[1:]:
        handle.set_sizes([40])  # those of scatter()
    _draw_use(axes[1, 3], numbers)
    figures.source(
        figure,
        "8x8 digits, a dot per image, its colour the class; van den Oord et al. 2017; Mentzer et al. 2024; "
        "Jang et al. 2017",
    )
    return figure


def cells(codes: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return the number of the code that is nearest to each point of a grid, (K, 2), (W,), (H,) -> (H, W) int64."""
    points = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], 2)
    return torch.cdist(points.flatten(0, 1).double(), codes.double()).argmin(1).view(len(y), len(x))


def hull(points: Tensor) -> Tensor:
    """Return the corners of the convex hull of (K, 2) points, their numbers counter-clockwise, (M,) int64.

    Andrew's monotone chain: along the points from left to right and back, corners that turn right are dropped.
    """
    place = points.double().tolist()
    order = sorted(range(len(place)), key=lambda i: place[i])

    def chain(numbers: Sequence[int]) -> list[int]:
        found: list[int] = []
        for i in numbers:
            while len(found) > 1 and _turn(place[found[-2]], place[found[-1]], place[i]) <= 0:
                found.pop()
            found.append(i)
        return found

    below, above = chain(order), chain(order[::-1])
    return torch.tensor([*below[:-1], *above[:-1]] or order)


def _turn(a: list[float], b: list[float], c: list[float]) -> float:
    """Return twice the area of a triangle, positive if a, b, c turn left."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def inside(points: Tensor, corners: Tensor, slack: float = 1e-5) -> Tensor:
    """Return which points (N, 2) lie in the convex polygon of (M, 2) corners, counter-clockwise: (N,) bool."""
    points, corners = points.double(), corners.double()
    edge = corners.roll(-1, 0) - corners
    off = points[:, None] - corners  # (N, M, 2)
    return (edge[:, 0] * off[..., 1] - edge[:, 1] * off[..., 0] >= -slack).all(1)


def _window(look: Any) -> tuple[float, float, float, float]:
    """Return limits (left, right, bottom, top) of a square that holds nearly all vectors and codes."""
    every = torch.cat([look.z, look.codes.repeat(len(look.z) // len(look.codes), 1)])
    low, high = torch.quantile(every, 0.002, 0), torch.quantile(every, 0.998, 0)
    centre, half = (low + high) / 2, float((high - low).amax()) / 2 * 1.12 + 1e-6
    x, y = centre.tolist()
    return x - half, x + half, y - half, y + half


def _draw_cells(axes: Axes, codes: Tensor, window: tuple[float, float, float, float]) -> None:
    """Draw the borders of the cells of the nearest code."""
    x, y = torch.linspace(*window[:2], FINE), torch.linspace(*window[2:], FINE)
    index = cells(codes, x, y).numpy()
    border = np.zeros(index.shape, bool)
    border[:-1] |= index[:-1] != index[1:]
    border[:, :-1] |= index[:, :-1] != index[:, 1:]
    border[1:] |= border[:-1].copy()
    pixels = np.zeros((*index.shape, 4))
    pixels[border] = (0.55, 0.55, 0.55, 1)
    axes.imshow(pixels, extent=window, origin="lower", aspect="equal", interpolation="antialiased", zorder=1.5)
    axes.set(xlim=window[:2], ylim=window[2:])


def _draw_points(axes: Axes, z: Tensor, label: Tensor, zorder: float = 2) -> None:
    some = slice(0, SHOWN)
    axes.scatter(
        z[some, 0], z[some, 1], s=5, c=label[some], cmap=CLASSES, vmin=0, vmax=9, alpha=0.6, lw=0, zorder=zorder
    )


def _draw_hull(axes: Axes, codes: Tensor) -> None:
    corners = codes[hull(codes)]
    closed = torch.cat([corners, corners[:1]])
    axes.plot(*closed.T, color=figures.COLOURS[0], ls="--", lw=1.4, zorder=3, label="convex hull of the codes")


def _draw_codes(axes: Axes, codes: Tensor, share: Tensor) -> None:
    """Draw codes, as large as the share of images that they have; dead ones as crosses."""
    alive = share > 0
    size = 18 + 500 * share[alive]
    axes.scatter(
        codes[alive, 0], codes[alive, 1], s=size, color="black", edgecolor="white", lw=0.8, zorder=5,
        label="code, by its share of images",
    )  # fmt: skip
    if not alive.all():
        axes.scatter(
            codes[~alive, 0], codes[~alive, 1], s=40, marker="x", color=figures.COLOURS[1], lw=1.8, zorder=5,
            label="dead code",
        )  # fmt: skip


def _draw_codebook(axes: Axes, look: Any, before: Sequence[Any], label: Tensor) -> None:
    window = _window(look)
    share = torch.bincount(look.number, minlength=len(look.codes)) / len(look.number)
    _draw_cells(axes, look.codes, window)
    _draw_points(axes, look.z, label)
    paths = torch.stack([each.codes for each in before])  # (T, K, 2)
    for k in range(paths.shape[1]):
        axes.plot(*paths[:, k].T, color="black", lw=0.7, alpha=0.5, zorder=2.5)
    _draw_hull(axes, look.codes)
    _draw_codes(axes, look.codes, share)
    alive = int((share > 0).sum())
    _noted(axes, f"{alive} of {len(share)} codes in use")


def _draw_lattice(axes: Axes, look: Any, label: Tensor) -> None:
    share = torch.bincount(look.number, minlength=len(look.codes)) / len(look.number)
    window = (-1.35, 1.35, -1.35, 1.35)
    _draw_cells(axes, look.codes, window)
    _draw_points(axes, look.z, label)
    _draw_hull(axes, look.codes)
    _draw_codes(axes, look.codes, share)
    _noted(axes, f"{int((share > 0).sum())} of {len(share)} codes in use")
    _named(axes, f"FSQ, a lattice that is given: {look.images:,} images")


def _draw_relaxed(axes: Axes, z: Tensor, index: Tensor, vectors: Tensor, label: Tensor) -> None:
    share = torch.bincount(index, minlength=len(vectors)) / len(index)
    corners = vectors[hull(vectors)]
    axes.fill(*corners.T, color=figures.COLOURS[0], alpha=0.07, zorder=1)
    _draw_hull(axes, vectors)
    far = z[:SHOWN:6], vectors[index[:SHOWN:6]]
    axes.plot(*torch.stack(far).permute(2, 0, 1), color="0.6", lw=0.5, zorder=1.5)
    _draw_points(axes, z, label, zorder=6)  # they lie on the codes at low temperatures
    _draw_codes(axes, vectors, share)
    low, high = vectors.amin(0), vectors.amax(0)
    centre, half = (low + high) / 2, float((high - low).amax()) / 2 * 1.3
    x, y = centre.tolist()
    axes.set(xlim=(x - half, x + half), ylim=(y - half, y + half), aspect="equal")
    _noted(axes, f"lines lead to the code straight through; {int((share > 0).sum())} of {len(share)} in use")


def _draw_use(axes: Axes, numbers: dict[str, Any]) -> None:
    runs = {name: each for name, each in numbers.items() if "perplexities" in each}
    for (name, each), colour in zip(runs.items(), figures.COLOURS):
        axes.plot(each["images"], each["perplexities"], color=colour, lw=2, label=name)
    axes.axhline(max(each["codes"] for each in runs.values()), color="black", ls=":", lw=1.2, label="all codes alike")
    axes.set_ylim(0, 1.55 * max(each["codes"] for each in runs.values()))
    figures.over_images(axes, [np.array([0.0, 1.0])])
    figures.label(axes, "how many codes are used", "images", "perplexity", legend=False)
    axes.legend(fontsize=8, loc="upper left")


def _named(axes: Axes, title: str) -> None:
    figures.label(axes, title, "z₁", "z₂", legend=False)
    axes.grid(False)


def _noted(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.01, text, transform=axes.transAxes, ha="center", va="bottom", fontsize=8, zorder=6,
              bbox={"facecolor": "white", "alpha": 0.85, "lw": 0, "pad": 1.5})  # fmt: skip
