"""The report as one self-contained HTML file: table, curves, samples, all runs and the protocol."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from gancli import __version__
from gancli.verbs.report import curves, text, words
from gancli.verbs.report.grouping import NONE, count
from gancli.verbs.report.table import LAST, Grid, Table

STYLE = """
body { font: 15px/1.5 "Latin Modern Roman", "STIX Two Text", Georgia, "Times New Roman", serif; color: #111;
  max-width: 1200px; margin: 2.5em auto; padding: 0 1.5em; }
h1 { font-size: 1.6em; margin: 0 0 .8em; } h2 { font-size: 1.15em; margin: 2.2em 0 .6em; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; border-top: 1.5px solid; border-bottom: 1.5px solid;
  font-variant-numeric: tabular-nums; }
th, td { padding: .22em .7em; text-align: right; white-space: nowrap; font-weight: normal; }
th.l, td.l { text-align: left; } th.c, td.c { text-align: center; }
thead tr:last-child th { border-bottom: 1px solid; } th.span { border-bottom: .7px solid #888; }
tfoot td { border-top: .7px solid #888; color: #444; font-style: italic; }
td.path { white-space: normal; word-break: break-all; min-width: 16em; font-size: .85em; line-height: 1.2; }
.wide + .wide { margin-top: 1.4em; }
.caption, .note { font-size: .9em; color: #333; max-width: 62em; } .note li { margin: .1em 0; }
.figures { display: flex; flex-wrap: wrap; gap: 1.2em 1.6em; align-items: flex-start; } figure { margin: 0; }
.curves img { width: 34em; max-width: 100%; height: auto; }
figcaption { font-size: .9em; color: #333; text-align: center; }
.growth img { max-width: 100%; } h3 { font-size: 1em; }
.grid img { width: 262px; border: 1px solid #ddd; } .grid.wide img { width: 540px; }
details { margin: .8em 0; } summary { cursor: pointer; font-size: .95em; } .small { font-size: .82em; }
@media print { body { margin: 0; max-width: none; } details { break-inside: avoid; } }
"""
MORE = '<p class="caption">runs.csv beside this file has all values of every run with all their digits.</p>'
GROWTH = "The levels of the networks that grow, of the same latents: each through its own last layer, at its own size."


def html(
    table: Table, scores: Mapping[str, Figure], losses: Mapping[str, Figure], warnings: Sequence[str],
    commands: Sequence[str] = (),
) -> str:  # fmt: skip
    """Return the HTML document.

    Args:
        table: the rows to show.
        commands: what scores the checkpoints that are not scored yet.
        scores: figures of the values measured during training, by key.
        losses: figures of the losses, by key.
        warnings: lines to show under the table.
    """
    heading = escape(words.heading(table))
    parts = [f"<h1>{heading}</h1>"]
    parts += [_table(table, keys, costs=not i) for i, keys in enumerate(table.parts())]
    parts.append(f'<p class="caption">{escape(words.caption(table))}</p>')
    if warnings:
        parts.append(f'<ul class="note">{"".join(f"<li>{escape(line)}</li>" for line in warnings)}</ul>')
    if commands:
        parts.append(f'<p class="note">{words.SCORE}</p><pre>{escape(chr(10).join(commands))}</pre>')
    if scores:
        band = " Lines: means over seeds; bands: one standard deviation." if _folded(table) else ""
        parts.append("<h2>In training</h2>" + _figures(scores))
        parts.append(f'<p class="caption">Scores on the validation split, which also chooses the best.{band}</p>')
    if losses:
        shown = " open" * (not table.keys)
        parts.append(f"<details{shown}><summary>Losses</summary>{_figures(losses)}</details>")
    parts.append(_samples(table))
    parts.append(f'<h2>Every run</h2><div class="wide small">{_runs(table)}</div>{MORE}')
    if table.protocol:
        parts.append(f"<details><summary>Protocol</summary>{_protocol(table)}</details>")
    parts.append(f'<p class="caption">Written by gancli {__version__} report.</p>')
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{heading}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>\n<body>\n'
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
    )


def _folded(table: Table) -> bool:
    return any(len(row.runs) > 1 for row in table.rows)


def _table(table: Table, keys: Sequence[str], *, costs: bool) -> str:
    kinds, tail = table.kinds, (*table.losses, *text.COST) if costs else ()
    wide = len(kinds) > 1
    span = ' rowspan="2"' if wide else ""
    head = "".join(f'<th class="l"{span}>{escape(each)}</th>' for each in table.columns) + f"<th{span}>seeds</th>"
    for key in keys:
        title = escape(words.title(table, key))
        head += f'<th class="c span" colspan="{len(kinds)}">{title}</th>' if wide else f"<th>{title}</th>"
    head += "".join(f'<th class="{"l" if each == "device" else ""}"{span}>{each}</th>' for each in tail)
    second = "".join(f"<th>{kind}</th>" for _ in keys for kind in kinds) if wide else ""
    body = ""
    for row, scores in zip(table.rows, text.cells(table, keys, "<b>{}</b>".format)):
        body += "<tr>" + "".join(f'<td class="l">{escape(each)}</td>' for each in row.labels)
        body += f"<td>{text.seeds(row)}</td>"
        body += "".join(f"<td>{each}</td>" for each in scores)
        if costs:
            images, seconds, device = text.cost(row)
            body += "".join(f"<td>{each}</td>" for each in text.losses(table, row))
            body += f'<td>{images}</td><td>{seconds}</td><td class="l">{escape(device)}</td>'
        body += "</tr>\n"
    foot = ""
    if (last := text.floor(table)) is not None:
        cells = "".join(f'<td class="c" colspan="{len(kinds)}">{last[1].get(key, "")}</td>' for key in keys)
        foot = f'<tfoot><tr><td class="l" colspan="{len(table.columns) + 1}">{escape(last[0])}</td>{cells}'
        foot += f'<td colspan="{len(tail)}"></td></tr></tfoot>' if tail else "</tr></tfoot>"
    rows = f"<tr>{head}</tr>" + (f"<tr>{second}</tr>" if wide else "")
    return f'<div class="wide"><table><thead>{rows}</thead><tbody>{body}</tbody>{foot}</table></div>'


def _figures(drawn: Mapping[str, Figure]) -> str:
    found = ""
    for key, figure in drawn.items():
        data = base64.b64encode(curves.svg(figure)).decode()  # a document of its own: ids cannot clash
        found += f'<figure><img alt="{escape(key)} over images" src="data:image/svg+xml;base64,{data}"></figure>'
    return f'<div class="figures curves">{found}</div>'


def _samples(table: Table) -> str:
    """Return the first seed's grid of every row, with the other seeds' grids in a fold below."""
    first, others = ("".join(_grid(each) for each in table.grids() if each.first == wanted) for wanted in (True, False))
    if not first:
        return ""
    kind = "figures grid wide" if table.translated else "figures grid"  # translations: text to read
    grown = "".join(_growth(each) for each in table.grids() if each.first)
    if grown:
        grown = f'<h3>Growth</h3><div class="figures growth">{grown}</div><p class="caption">{GROWTH}</p>'
    more = f'<details><summary>Other seeds</summary><div class="{kind}">{others}</div></details>' if others else ""
    first_of = "pictures of the split" if table.translated else "latents of each run"
    note = f"Uncurated: the first {first_of}, at the end of the training"
    note += (
        ", from its averaged weights." if any(each.run.settings.get("ema.half_life") for each in table.runs()) else "."
    )
    return f'<h2>Samples</h2><div class="{kind}">{first}</div><p class="caption">{note}</p>{more}{grown}'


def _grid(grid: Grid) -> str:
    return _picture(grid.path, "samples", grid)


def _growth(grid: Grid) -> str:
    """Return the levels of a network that grows; nothing for others."""
    path = grid.run.run.growth()
    return "" if path is None else _picture(path, "levels", grid)


def _picture(path: Path, what: str, grid: Grid) -> str:
    picture = base64.b64encode(path.read_bytes()).decode()
    name = ", ".join([*grid.labels, f"seed {grid.run.run.seed}"])
    source = f'<img alt="{what} of {escape(name)}" src="data:image/png;base64,{picture}">'
    return f"<figure>{source}<figcaption>{escape(name)}</figcaption></figure>"


def _runs(table: Table) -> str:
    """Return the table of single runs, with as many values as the first table above."""
    places, keys = text.digits(table), table.parts()[0]
    head = [*table.columns, "seed", "state", "images", "seconds", "best at", "validation"]
    head += [f"{words.name(key)} {kind}" for key in keys for kind in table.kinds[:2]]
    head += ["folder"]
    lines = []
    for row in table.rows:
        for each in row.runs:
            run, choice = each.run, each.choice
            seconds = NONE if run.seconds is None else f"{run.seconds:.0f}"
            cells = [*row.labels, str(run.seed), run.state, count(run.images), seconds]
            cells += [count(choice.images), f"{words.name(choice.key)} {choice.value:.4g}"] if choice else [NONE, NONE]
            for key in keys:
                for kind in table.kinds[:2]:
                    card = each.last if kind == LAST else each.best
                    cells.append(f"{card.values[key]:.{places[key]}f}" if card and key in card.values else NONE)
            lines.append([*cells, str(run.folder)])
    left = {*range(len(table.columns)), len(table.columns) + 1, len(head) - 1}
    sides = ['class="l"' if i in left else "" for i in range(len(head) - 1)] + ['class="l path"']
    top = "".join(f"<th {side}>{escape(each)}</th>" for side, each in zip(sides, head))
    body = "".join(
        f"<tr>{''.join(f'<td {side}>{escape(each)}</td>' for side, each in zip(sides, line))}</tr>\n" for line in lines
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _protocol(table: Table) -> str:
    facts = {key: value for key, value in table.protocol.items() if key not in ("checkpoint_sha256", "images")}
    rows = "".join(
        f'<tr><td class="l">{escape(key)}</td><td class="l">{escape(text_of(value))}</td></tr>'
        for key, value in facts.items()
    )
    return f'<div class="wide small"><table>{rows}</table></div>'


def text_of(value: object) -> str:
    return (
        " x ".join(map(str, value)) if isinstance(value, list) and value and isinstance(value[0], int) else str(value)
    )
