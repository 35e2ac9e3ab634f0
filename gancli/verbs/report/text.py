"""Cells rounded to significant digits, and the table as Markdown and LaTeX."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

from gancli.verbs.report import words
from gancli.verbs.report.grouping import NONE, count
from gancli.verbs.report.protocols import DIRECTION
from gancli.verbs.report.runs import Run
from gancli.verbs.report.table import BEST, BEST_SEED, Row, Score, Table

HUGE = 1e7  # numbers from here on, such as the losses of a run that runs away, are written as powers of ten
COST = ("images", "seconds", "device")


def decimals(scores: Sequence[Score]) -> int:
    """Return the decimals of a column: two significant digits of the deviation, or three of the smallest value.

    The smaller of the two, from 0 to 6; the deviation is the median of the rows'.
    """
    spreads = [score.std for score in scores if score.std]
    means = [abs(score.mean) for score in scores if score.mean]
    by_mean = 2 - math.floor(math.log10(min(means))) if means else 2
    places = min(by_mean, 1 - math.floor(math.log10(median(spreads)))) if spreads else by_mean
    return min(max(places, 0), 6)


def digits(table: Table) -> dict[str, int]:
    """Return the decimals of each value; all columns of a value share them."""
    found = {}
    for key in table.keys:
        scores = [row.score(key, kind, table.better) for row in table.rows for kind in table.kinds]
        found[key] = decimals([score for score in scores if score])
    return found


def cell(score: Score | None, places: int) -> str:
    if score is None:
        return NONE
    mean, std = (None if value is None else _rounded(value, places) for value in (score.mean, score.std))
    return f"{mean}" if std is None else f"{mean} ± {std}"


def _rounded(value: float, places: int) -> str:
    return f"{value:.{places}f}" if abs(value) < HUGE else f"{value:.2e}"


def leaders(table: Table, key: str, kind: str, places: int) -> set[int]:
    """Return the indices of the rows with the best printed value of a column; empty if there is nothing to compare.

    A mean over a part of a row's seeds does not lead: the others could change it.
    """
    higher = table.better.get(key)
    found = {i: score for i, row in enumerate(table.rows) if (score := row.score(key, kind, table.better))}
    whole = {i: s for i, s in found.items() if kind == BEST_SEED or s.n == len(table.rows[i].runs)}
    rounded = {i: round(score.mean, places) for i, score in whole.items()}
    if higher is None or set(table.apart) - {DIRECTION}:
        return set()
    leading: set[int] = set()
    for direction in dict.fromkeys(table.direction(row) for row in table.rows):
        own = {i: value for i, value in rounded.items() if table.direction(table.rows[i]) == direction}
        if len(set(own.values())) > 1:
            best = (max if higher else min)(own.values())
            leading |= {i for i, value in own.items() if value == best}
    return leading


def cells(table: Table, keys: Sequence[str], bold: Callable[[str], str]) -> list[list[str]]:
    """Return the formatted scores of each row, by value and then by kind; ``bold`` formats the best of a column."""
    places = digits(table)
    best = {(key, kind): leaders(table, key, kind, places[key]) for key in keys for kind in table.kinds}
    found = []
    for i, row in enumerate(table.rows):
        line = []
        for key, kind in best:
            score = row.score(key, kind, table.better)
            shown = cell(score, places[key])
            if score and kind == BEST and score.n < _scored(row):
                shown += f" (n = {score.n})"
            line.append(bold(shown) if i in best[key, kind] else shown)
        found.append(line)
    return found


def seeds(row: Row) -> str:
    """Return the number of seeds of a row, such as ``5``, or ``3 of 5`` if some were not evaluated."""
    scored, every = _scored(row), len(row.runs)
    return str(every) if scored == every else f"{scored} of {every}"


def _scored(row: Row) -> int:
    return sum(each.last is not None for each in row.runs)


def cost(row: Row) -> tuple[str, str, str]:
    """Return the cells of images seen, seconds of training and device."""
    images, seconds = row.over_seeds(lambda run: run.images), row.over_seeds(lambda run: run.seconds)
    devices = dict.fromkeys(each.run.device for each in row.runs if each.run.device)
    return (
        count(images.mean) if images else NONE,
        cell(seconds, 0 if seconds and seconds.mean >= 10 else 1),
        ", ".join(devices) or NONE,
    )


def losses(table: Table, row: Row) -> list[str]:
    """Return the cells of the losses at the end of the training, for a table without scores."""
    found = [row.over_seeds(partial(Run.newest, key=key)) for key in table.losses]
    return [cell(score, decimals([score]) if score else 0) for score in found]


def floor(table: Table) -> tuple[str, dict[str, str]] | None:
    """Return the title and the cells of the last line, the scores of real images against other real images.

    A value whose floor differs between rows has no cell. None if there is no cell at all.
    """
    places, found, sizes = digits(table), {}, set()
    for key in table.keys:
        floors = {each for row in table.rows if (each := row.floor(key))}
        if len(floors) == 1:
            ((value, size),) = floors
            found[key] = f"{value:.{places[key]}f}"
            sizes.add(size)
    return (f"real images (n = {', '.join(map(str, sorted(sizes)))})", found) if found else None


def markdown(table: Table, warnings: Sequence[str]) -> str:
    """Return the tables in GitHub's Markdown with caption and warnings; the best of each column is bold."""
    parts = [_markdown(table, keys, costs=not i) for i, keys in enumerate(table.parts())]
    notes = "".join(f"- {line}\n" for line in warnings)
    return "\n".join([*parts, words.caption(table) + "\n"]) + (f"\nNote:\n\n{notes}" if notes else "")


def _markdown(table: Table, keys: Sequence[str], *, costs: bool) -> str:
    kinds, columns = table.kinds, table.columns
    head = [*columns, "seeds"]
    head += [words.title(table, key) + (f", {kind}" if len(kinds) > 1 else "") for key in keys for kind in kinds]
    lines = [head, ["---"] * len(columns) + ["--:"] * (len(head) - len(columns))]
    for row, scores in zip(table.rows, cells(table, keys, "**{}**".format)):
        lines.append([*row.labels, seeds(row), *scores])
    if (last := floor(table)) is not None:
        shown = [last[1].get(key, "") if kind == kinds[0] else "" for key in keys for kind in kinds]
        lines.append([*[last[0], *[""] * len(columns)][: len(columns) + 1], *shown])
    if costs:
        right = [[*table.losses, *COST], ["--:"] * len(table.losses) + ["--:", "--:", "---"]]
        right += [[*losses(table, row), *cost(row)] for row in table.rows]
        lines = [[*line, *more] for line, more in zip(lines, [*right, [""] * 3])]
    return "".join(f"| {' | '.join(each.replace('|', chr(92) + '|') for each in line)} |\n" for line in lines)


def latex(table: Table) -> str:
    """Return LaTeX tabulars for ``\\input``, with the caption in a comment. They need the package ``booktabs``."""
    comment = "".join(f"% {line}\n" for line in words.caption(table).split(". "))
    return comment + "\n".join(_latex(table, keys, costs=not i) for i, keys in enumerate(table.parts()))


def _latex(table: Table, keys: Sequence[str], *, costs: bool) -> str:
    kinds = table.kinds
    tail = [*map(_tex, table.losses), *COST[:2]] if costs else []
    front = [*map(_tex, table.columns), "seeds"]
    titles = [_tex(words.title(table, key)) for key in keys]
    head = [[*front, *titles, *tail]]
    if len(kinds) > 1:
        spans = [rf"\multicolumn{{{len(kinds)}}}{{c}}{{{each}}}" for each in titles]
        head = [[*[""] * len(front), *spans, *[""] * len(tail)], [*front, *kinds * len(keys), *tail]]
    body = [
        [*map(_tex, row.labels), seeds(row), *scores, *map(_tex, [*losses(table, row), *cost(row)][: len(tail)])]
        for row, scores in zip(table.rows, cells(table, keys, r"\textbf{{{}}}".format))
    ]
    body = [[_math(each) for each in line] for line in body]
    lines = [r"\toprule", *map(_row, head), r"\midrule", *map(_row, body)]
    if (last := floor(table)) is not None:
        shown = [rf"\multicolumn{{{len(kinds)}}}{{c}}{{{last[1].get(key, '')}}}" for key in keys]
        name = rf"\multicolumn{{{len(front)}}}{{l}}{{{_tex(last[0])}}}"
        lines += [r"\midrule", _row([name, *shown, *[""] * len(tail)])]
    spec = "l" * len(table.columns) + "r" * (1 + len(kinds) * len(keys) + len(tail))
    return "\n".join([rf"\begin{{tabular}}{{{spec}}}", *lines, r"\bottomrule", r"\end{tabular}", ""])


def _row(line: Sequence[str]) -> str:
    return " & ".join(line) + r" \\"


_TEX = {"↓": r"$\downarrow$", "↑": r"$\uparrow$", "∞": r"$_\infty$"} | {c: "\\" + c for c in "&%$#_{}"}


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in text)


def _math(text: str) -> str:
    return text.replace("±", r"$\pm$")
