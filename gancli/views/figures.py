"""Matplotlib figures in one style, drawn without a display and without pyplot's global state."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator

from gancli.files import replacing

# The palette of Okabe and Ito, which is safe for colour-blind readers; black, for references, comes last.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
STYLE: dict[Any, Any] = {  # Any: matplotlib's stubs spell out every key
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "font.size": 10,
    "axes.titlesize": 11,
    "legend.frameon": False,
    "figure.titlesize": 13,
}


def panels(
    rows: int = 1, columns: int = 1, *, size: tuple[float, float] = (4.5, 3.6), **kwargs: Any
) -> tuple[Figure, np.ndarray]:
    """Return a figure and its axes, an array of shape (rows, columns).

    Args:
        rows: rows of axes.
        columns: columns of axes.
        size: width and height of each axes in inches.
        **kwargs: passed to ``Figure.subplots``.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(columns * size[0], rows * size[1]), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        return figure, figure.subplots(rows, columns, squeeze=False, **kwargs)


def source(figure: Figure, text: str) -> None:
    """Write the source of the figure's formula or setting in small print at the bottom."""
    figure.supxlabel(text, fontsize=8, color="0.35", x=0.99, ha="right")


def label(axes: Axes, title: str, x: str, y: str, *, legend: bool = True) -> None:
    """Set title and axis labels, and draw a legend if any artist has a label."""
    axes.set(title=title, xlabel=x, ylabel=y)
    if legend and axes.get_legend_handles_labels()[0]:
        axes.legend()


def over_images(axes: Axes, values: Sequence[np.ndarray]) -> None:
    """Format an x axis of images seen (200k), and choose the scale of the y axis, see scale_y()."""
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    scale_y(axes, values)


def scale_y(axes: Axes, values: Sequence[np.ndarray]) -> None:
    """Make the y axis logarithmic if all ``values`` are positive, span more than a factor of 10 and exceed 2."""
    low, high = min(np.min(each) for each in values), max(np.max(each) for each in values)
    if low > 0 and high > max(10 * low, 2):  # proportions stay linear
        log_y(axes)


def log_y(axes: Axes) -> None:
    """Make the y axis logarithmic, with plain numbers at 1, 2 and 5."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))


def pixels(figure: Figure) -> np.ndarray:
    """Render a figure of ``panels()`` and return its pixels, (H, W, 3) uint8."""
    with mpl.rc_context(STYLE):
        figure.canvas.draw()
    assert isinstance(figure.canvas, FigureCanvasAgg)  # set by panels()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()


def save(figure: Figure, path: Path) -> None:
    """Write the figure atomically, in the format that the suffix of ``path`` names."""
    with mpl.rc_context(STYLE), replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix.removeprefix("."))
