"""The newest samples of every row of a report, side by side on one sheet."""

from textwrap import fill

from matplotlib.figure import Figure
from PIL import Image

from gancli.verbs.report import words
from gancli.verbs.report.table import Grid, Table
from gancli.views import figures

COLUMNS = 4
PANEL = 2.7  # inches, the side of a square one
WIDTH = 38  # characters of a panel's title


def samples(table: Table) -> Figure | None:
    """Return a panel per row, with the newest grid of its first run and that run's score; None: none has drawn one."""
    drawn = [each for each in table.grids() if each.first]
    if not drawn:
        return None
    with Image.open(drawn[0].path) as picture:
        aspect = picture.width / picture.height
    wide = min(max(aspect, 1), COLUMNS)  # rows of translations: broader panels, fewer beside each other
    columns = min(int(COLUMNS / wide), len(drawn))
    size = PANEL * wide, PANEL * wide / aspect + 0.5  # and the title
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
