"""The newest samples of every row of a report, side by side on one sheet."""

from textwrap import fill

from matplotlib.figure import Figure
from PIL import Image

from gancli import figures
from gancli.report import words
from gancli.report.table import Row, Table

COLUMNS = 4
WIDTH = 38  # characters of a panel's title


def samples(table: Table) -> Figure | None:
    """Return a panel per row, with the newest grid of its first run and that run's score; None: none has drawn one."""
    drawn = [(row, path) for row in table.rows if (path := row.runs[0].grid())]
    if not drawn:
        return None
    columns = min(COLUMNS, len(drawn))
    figure, axes = figures.panels(-(-len(drawn) // columns), columns, size=(2.7, 3.0))
    for panel in axes.flat:
        panel.axis("off")
    for panel, (row, path) in zip(axes.flat, drawn):
        with Image.open(path) as picture:
            panel.imshow(picture.convert("RGB"), interpolation="nearest")
        panel.set_title(_title(table, row), fontsize=9)
    return figure


def _title(table: Table, row: Row) -> str:
    name, key, last = fill(", ".join(row.labels) or "samples", WIDTH), table.keys[0], row.runs[0].last
    return f"{name}\n{words.name(key)} {last.values[key]:.4g}" if last and key in last.values else name
