"""The curve of a projection: the distance of each picture over the steps, and the mean."""

import numpy as np
from matplotlib.figure import Figure

from gancli.models import likeness
from gancli.models.inversion import Settings
from gancli.views import figures

LINES = 64  # pictures whose own curves are drawn


def curve(values: np.ndarray, model: str, settings: Settings) -> Figure:
    """Return the figure of distances, (steps, N), each before the step of its row."""
    figure, axes = figures.panels(size=(6.0, 3.8))
    axis, steps = axes[0, 0], np.arange(len(values))
    for i, each in enumerate(values.T[:LINES]):
        axis.plot(steps, each, color="0.75", lw=0.8, label=None if i else "a picture")
    axis.plot(steps, values.mean(1), color=figures.COLOURS[0], label=f"mean of {values.shape[1]}")
    if (values > 0).all():
        figures.log_y(axis)
    figures.label(axis, f"{model}: projection into {settings.space}", "step", "distance that is minimised")
    figures.source(figure, f"distance: {likeness.NAME}")
    return figure
