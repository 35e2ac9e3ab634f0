"""The newest sample grid of every row of a report, in one figure."""

from textwrap import fill

from matplotlib.figure import Figure
from PIL import Image

from gancli.data import untrusted
from gancli.errors import UsageError
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
    pictures = [_picture(grid) for grid in drawn]
    aspect = pictures[0].width / pictures[0].height
    wide = min(max(aspect, 1), COLUMNS)  # grids of translations are wide: fewer fit in a row
    columns = min(int(COLUMNS / wide), len(drawn))
    size = PANEL * wide, PANEL * wide / aspect + 0.5  # half an inch for the title
    figure, axes = figures.panels(-(-len(drawn) // columns), columns, size=size)
    for panel in axes.flat:
        panel.axis("off")
    for panel, grid, picture in zip(axes.flat, drawn, pictures):
        panel.imshow(picture, interpolation="nearest")
        panel.set_title(_title(table, grid), fontsize=9)
    return figure


def _picture(grid: Grid) -> Image.Image:
    try:
        with untrusted.picture_file(grid.path) as picture:
            return picture.convert("RGB")
    except untrusted.Unreadable as error:
        raise UsageError(f"{grid.path} cannot be read as a picture: {error}; remove it, or the run") from None


def _title(table: Table, grid: Grid) -> str:
    name = fill(", ".join(grid.labels) or "samples", WIDTH)
    return name if grid.score is None else f"{name}\n{words.name(table.keys[0])} {grid.score:.4g}"
