"""What tells runs apart: the fewest settings that name every group of runs which differ in their seed alone."""

from collections.abc import Sequence
from typing import Any

from gancli.verbs.report.runs import Run

FIRST = ("data", "model", "loss", "penalty", "stabilizer", "optimizer", "schedule")  # of what nobody typed
SEED = "seed"  # its runs are folded
NONE = "-"
COUNTED = ("images", "ema.half_life")  # written as 200k


def columns(runs: Sequence[Run]) -> list[str]:
    """Return the keys that differ: what was typed, in its order, then what else still tells two runs apart.

    A model brings its optimizer: that is no column, unless it was typed or one model comes with two of them.
    """
    facts = [_facts(run, choices=all(each.choices for each in runs)) for run in runs]
    typed = dict.fromkeys(key for run in runs for key in run.typed)
    found = [key for key in typed if key != SEED and len({text(each.get(key)) for each in facts}) > 1]
    rest = dict.fromkeys([*FIRST, *(key for run in runs for key in run.choices), *(k for each in facts for k in each)])
    for key in rest:
        if key != SEED and key not in found and _splits(key, found, facts):
            found.append(key)
    return found


def labels(runs: Sequence[Run], keys: Sequence[str]) -> list[tuple[str, ...]]:
    """Return each run's cells of these columns."""
    choices = all(each.choices for each in runs)
    return [tuple(text(_facts(run, choices=choices).get(key), key) for key in keys) for run in runs]


def _facts(run: Run, *, choices: bool) -> dict[str, Any]:
    """Return a run's settings; those of a group by the option's name, if that is known of all runs."""
    return run.settings | (run.choices if choices else {})


def _splits(key: str, found: Sequence[str], facts: Sequence[dict[str, Any]]) -> bool:
    values: dict[tuple[str, ...], set[str]] = {}
    for each in facts:
        values.setdefault(tuple(text(each.get(name)) for name in found), set()).add(text(each.get(key)))
    return any(len(group) > 1 for group in values.values())


def text(value: Any, key: str = "") -> str:
    """Write a setting as one would type it."""
    if value is None or value == "":
        return NONE
    if isinstance(value, bool):
        return str(value).lower()
    if key in COUNTED and isinstance(value, int):
        return count(value)
    if isinstance(value, float):
        return f"{value:g}"
    return ",".join(map(text, value)) if isinstance(value, (list, tuple)) else str(value)


def count(images: float) -> str:
    """Write a number of images to four digits: 60000 -> 60k."""
    for unit, suffix in ((10**6, "M"), (10**3, "k")):
        if images >= unit:
            return f"{images / unit:.4g}{suffix}"
    return f"{images:.0f}"
