"""Figures of scores and losses over the images seen: a line per row of the table, with a band over its seeds."""

import io
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from gancli.structure import is_spread
from gancli.verbs.report import words
from gancli.verbs.report.table import Row, Table
from gancli.views import figures

STYLES = ("-", "--", ":", "-.")  # the next one each time the colours run out
TRUETYPE = {"pdf.fonttype": 42}  # conferences reject Type 3 fonts, matplotlib's default


def scores(table: Table) -> dict[str, Figure]:
    """Return a figure for each value of the table that was measured during training; without values, for each."""
    rows = [row for each in table.runs() for row in each.run.history] if not table.keys else []
    known = dict.fromkeys(key.removeprefix("eval/") for row in rows for key in row if key.startswith("eval/"))
    keys = table.keys or [key for key in known if not is_spread(key)]
    return {key: figure for key in keys if (figure := _figure(table, f"eval/{key}", words.title(table, key)))}


def losses(table: Table) -> dict[str, Figure]:
    """Return a figure for each loss."""
    keys = dict.fromkeys(k for each in table.runs() for r in each.run.history for k in r if k.startswith("loss/"))
    return {key: figure for key in keys if (figure := _figure(table, key, key.removeprefix("loss/") + " loss"))}


def _figure(table: Table, key: str, title: str) -> Figure | None:
    curves = [(row, x, y) for row in table.rows for x, y in [_curve(row, key)] if len(x) > 1]
    if not curves:
        return None
    figure, ((axes,),) = figures.panels(size=(5.2, 3.8))
    for i, (row, x, y) in enumerate(curves):
        colour, style = figures.COLOURS[i % 8], STYLES[i // 8 % 4]
        mean = y.mean(0)
        axes.plot(x, mean, style, color=colour, label=", ".join(row.labels) or "mean")
        if len(y) > 1:
            spread = y.std(0, ddof=1)
            axes.fill_between(x, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
    figures.over_images(axes, [y for _, _, y in curves])
    split = {each.run.eval_split for row, _, _ in curves for each in row.runs} if key.startswith("eval/") else ()
    figures.label(
        axes, f"{title} on {', '.join(split)}" if split else title, "images seen", title.rstrip(" ↑↓"), legend=False
    )
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def _curve(row: Row, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the images seen, (n,), and the values, (seeds, n), at the points that all seeds share."""
    found = [curve for each in row.runs if (curve := each.run.curve(key))]
    shared = sorted(set.intersection(*(set(each) for each in found))) if found else []
    return np.array(shared), np.array([[each[at] for at in shared] for each in found])


def svg(figure: Figure) -> bytes:
    """Return the figure as an SVG file. Text is drawn as outlines, so that it needs no installed fonts."""
    file = io.BytesIO()
    with mpl.rc_context(figures.STYLE | {"svg.fonttype": "path", "svg.hashsalt": "gancli"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def pdf(figure: Figure, path: Path) -> None:
    """Write the figure as a PDF file with TrueType fonts, which conferences accept."""
    with mpl.rc_context(figures.STYLE | TRUETYPE):
        figures.save(figure, path)
