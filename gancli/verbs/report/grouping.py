"""The settings in which runs differ, and the groups of runs that differ only in their seed."""

from collections.abc import Sequence
from typing import Any

from gancli.verbs.report.runs import Run

FIRST = ("data", "model", "loss", "penalty", "stabilizer", "optimizer", "schedule")  # the order of columns nobody typed
SEED = "seed"  # never a column: runs that differ only in it share a row
NONE = "-"
COUNTED = ("images", "ema.half_life")  # written as 200k


def columns(runs: Sequence[Run]) -> list[str]:
    """Return the keys in which runs differ.

    Keys that were typed come first, in the order they were typed. Other keys follow only if they separate runs that
    agree in all keys before them: the optimizer that comes with each model, for example, gets no column of its own.
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
    """Return the cells of the columns ``keys``, one tuple per run."""
    choices = all(each.choices for each in runs)
    return [tuple(text(_facts(run, choices=choices).get(key), key) for key in keys) for run in runs]


def _facts(run: Run, *, choices: bool) -> dict[str, Any]:
    """Return a run's settings. With ``choices``, each config group is also described by the name of its option."""
    return run.settings | (run.choices if choices else {})


def _splits(key: str, found: Sequence[str], facts: Sequence[dict[str, Any]]) -> bool:
    values: dict[tuple[str, ...], set[str]] = {}
    for each in facts:
        values.setdefault(tuple(text(each.get(name)) for name in found), set()).add(text(each.get(key)))
    return any(len(group) > 1 for group in values.values())


def text(value: Any, key: str = "") -> str:
    """Format a setting as it is typed on the command line."""
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
    """Format a number of images with four significant digits: 60000 becomes 60k."""
    for unit, suffix in ((10**6, "M"), (10**3, "k")):
        if images >= unit:
            return f"{images / unit:.4g}{suffix}"
    return f"{images:.0f}"
