"""Figures in one style, with axes, units and a source: drawn without a display, saved whole, shown in TensorBoard."""

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

# Okabe and Ito's colours, which colour-blind readers tell apart; black comes last, for references.
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
    """Make a figure of (rows, columns) axes, each ``size`` inches, laid out without overlap.

    Other arguments are those of ``Figure.subplots``. The global state of pyplot is not touched.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(columns * size[0], rows * size[1]), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        return figure, figure.subplots(rows, columns, squeeze=False, **kwargs)


def source(figure: Figure, text: str) -> None:
    """Write where the figure's formula or setting comes from, small, at its foot."""
    figure.supxlabel(text, fontsize=8, color="0.35", x=0.99, ha="right")


def label(axes: Axes, title: str, x: str, y: str, *, legend: bool = True) -> None:
    """Name the axes with their units."""
    axes.set(title=title, xlabel=x, ylabel=y)
    if legend and axes.get_legend_handles_labels()[0]:
        axes.legend()


def over_images(axes: Axes, values: Sequence[np.ndarray]) -> None:
    """Write images seen as 200k, and values above 1 and of more than one order of magnitude, on a log scale."""
    low, high = min(np.min(each) for each in values), max(np.max(each) for each in values)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    if low > 0 and high > max(10 * low, 2):  # shares stay as they are
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
        axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))


def pixels(figure: Figure) -> np.ndarray:
    """Draw the figure, (H, W, 3) uint8."""
    with mpl.rc_context(STYLE):
        figure.canvas.draw()
    assert isinstance(figure.canvas, FigureCanvasAgg)  # as panels() sets it
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()


def save(figure: Figure, path: Path) -> None:
    """Write a PNG, or what the path's ending says, whole or not at all."""
    with mpl.rc_context(STYLE), replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix.removeprefix("."))
