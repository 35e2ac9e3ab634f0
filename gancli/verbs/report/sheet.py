"""The newest sample grid of every row of a report, in one figure."""

from textwrap import fill

from matplotlib.figure import Figure
from PIL import Image

from gancli.verbs.report import words
from gancli.verbs.report.table import Grid, Table
from gancli.views import figures

COLUMNS = 4
PANEL = 2.7  # side of a square panel in inches
WIDTH = 38  # characters per line of a panel's title


def samples(table: Table) -> Figure | None:
    """Return a figure with the newest grid and the score of each row's first run; None if no run has a grid."""
    drawn = [each for each in table.grids() if each.first]
    if not drawn:
        return None
    with Image.open(drawn[0].path) as picture:
        aspect = picture.width / picture.height
    wide = min(max(aspect, 1), COLUMNS)  # grids of translations are wide: fewer fit in a row
    columns = min(int(COLUMNS / wide), len(drawn))
    size = PANEL * wide, PANEL * wide / aspect + 0.5  # half an inch for the title
    figure, axes = figures.panels(-(-len(drawn) // columns), columns, size=size)
    for panel in axes.flat:
        panel.axis("off")
    for panel, grid in zip(axes.flat, drawn):
        with Image.open(grid.path) as picture:
            panel.imshow(picture.convert("RGB"), interpolation="nearest")
        panel.set_title(_title(table, grid), fontsize=9)
    return figure


def _title(table: Table, grid: Grid) -> str:
    name = fill(", ".join(grid.labels) or "samples", WIDTH)
    return name if grid.score is None else f"{name}\n{words.name(table.keys[0])} {grid.score:.4g}"
