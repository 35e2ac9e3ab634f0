"""The end of a search: its table, its figures, and the command of its best trial.

gancli tune model=dcgan data=mnist space=gan_lr trials=30
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from gancli import structure
from gancli.config import naming
from gancli.errors import command, counted
from gancli.files import replacing
from gancli.structure import read_json
from gancli.verbs.tune.study import FILE, OBJECTIVE, SPACE, STATES, best, load
from gancli.verbs.tune.verb import folder_name

TABLE = "trials.csv"
OPEN = "interrupted"  # the same command goes on with it


def summarise(folder: Path) -> dict[str, float]:
    """Print the trials of the search in a folder, name those without a result, and draw its figures.

    The command of the best trial stands on a line of its own.

    Returns:
        The number of trials, of those done, pruned and failed, and the best value if there is one.

    Raises:
        UsageError: the folder holds no search.
    """
    study = load(folder / FILE)
    objective, space = study.user_attrs[OBJECTIVE], study.user_attrs[SPACE]
    trials = study.get_trials(deepcopy=False)
    table = [_row(each, objective, list(space), folder) for each in trials]
    with replacing(folder / TABLE) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    _print(table)
    states = [row["state"] for row in table]
    counts = {state: states.count(state) for state in (*STATES.values(), OPEN)}
    named = [
        f"{counts[state]} {state}" + (f" ({', '.join(_names(table, state))})" if state != "done" else "")
        for state in counts
        if counts[state]
    ]
    print(f"{counted(len(table), 'trial')}: {'; '.join(named)}; table: {folder / TABLE}")
    first = best(study)
    if first is not None and first.value is not None:
        _draw(study, objective, folder)
        run = folder / folder_name(first.number)
        print(
            f"best: {run.name}, {objective} {first.value:.4g} on the validation split; its command, and its test score:"
        )
        words = _overrides(run)
        trust = [word for word in words if word.startswith("trust=")]
        print(command("train", *words), command("eval", f"ckpt={run}", *trust), sep="\n", flush=True)
    found: dict[str, float] = {"trials": len(table), **{key: n for key, n in counts.items() if key != OPEN}}
    return found if first is None or first.value is None else found | {"best": first.value}


def _row(trial: FrozenTrial, objective: str, keys: Sequence[str], folder: Path) -> dict[str, Any]:
    """Return the line of a trial: the value of one without a result is that of its last evaluation."""
    seen = trial.intermediate_values
    value = trial.value if trial.value is not None else seen[max(seen)] if seen else ""
    run = folder / folder_name(trial.number)
    error = (read_json(run / "status.json", structure.STATUS) or {}).get("error") or ""
    row = {"trial": trial.number, "state": STATES.get(trial.state, OPEN), objective: value, "evaluations": len(seen)}
    row |= {name: trial.params.get(key, "") for name, key in zip(naming.short(keys), keys)}
    return row | {"run": run.name, "error": "" if trial.state == TrialState.COMPLETE else error}


def _names(table: Sequence[dict[str, Any]], state: str) -> list[str]:
    return [row["run"] for row in table if row["state"] == state]


def _print(table: Sequence[dict[str, Any]]) -> None:
    cells = [[*table[0]], *([_cell(value) for value in row.values()] for row in table)]
    widths = [max(map(len, column)) for column in zip(*cells)]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


def _cell(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _overrides(run: Path) -> list[str]:
    """Return the settings that a trial was trained with, as they are typed."""
    return (read_json(run / "status.json", structure.STATUS) or {}).get("overrides", [])


def _draw(study: Study, objective: str, folder: Path) -> None:
    from gancli.verbs.tune.figures import drawn  # imports matplotlib
    from gancli.views.figures import save

    for name, figure in drawn(study, objective).items():
        save(figure, folder / f"{name}.png")
        print(f"-> {folder / name}.png")
