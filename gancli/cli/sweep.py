"""A sweep from its words to its folder, and the table at its end, from the status.json files of its jobs."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gancli.cli import status
from gancli.errors import UsageError, command, counted
from gancli.files import replacing

NAME = "results.csv"
FOLDER = "hydra.sweep.dir"
LAUNCHER = "hydra/launcher"
OWN = "gancli"  # the option of hydra/launcher that is gancli's own
ANEW = "sweep=new"
RECORD = "multirun.yaml"  # written by Hydra's sweepers
_WIDEST = 50  # characters of a cell on the terminal


def own_words(settings: Sequence[str], *, multirun: bool) -> tuple[list[str], bool]:
    """Return the settings with ``launcher.slots=4`` as Hydra knows it, and whether ``sweep=new`` begins a new sweep.

    Raises:
        UsageError: one of these words has another value, or there is no sweep.
    """
    own = [word for word in settings if word.partition("=")[0] == "sweep" or word.startswith("launcher.")]
    if own and not multirun:
        raise UsageError(f"{own[0]}: only a sweep takes this; add -m, or omit it")
    for word in own:
        if word.startswith("sweep=") and word != ANEW:
            raise UsageError(f"{word}: only {ANEW} is known; name the sweep's folder with {FOLDER}=...")
    words = [f"hydra.{word}" if word.startswith("launcher.") else word for word in settings if word != ANEW]
    chosen = any(word.startswith(f"{LAUNCHER}=") for word in words)
    if not chosen and any(word.startswith("hydra.launcher.") for word in words):
        words.append(f"{LAUNCHER}={OWN}")
    return words, ANEW in settings


def is_begun(folder: Path) -> bool:
    """Tell whether a folder holds a sweep."""
    return (folder / RECORD).is_file()


def rows(folder: Path) -> list[dict[str, Any]]:
    """Return one row per job: the settings that differ, as they were typed, state, seconds, metrics, error, folder."""
    found = ((file.parent, status.read(file.parent)) for file in folder.glob(f"**/{status.NAME}"))
    ordered = sorted(((p, values) for p, values in found if values), key=lambda job: (job[1].get("job") or 0, job[0]))
    jobs = dict(ordered)
    settings, varying = _settings(jobs.values())
    metrics = list(dict.fromkeys(name for values in jobs.values() for name in values["metrics"]))
    table = []
    for own, (path, values) in zip(settings, jobs.items()):
        row = {name: own.get(name, "") for name in varying} | {"state": values["state"], "seconds": values["seconds"]}
        row |= {name if name not in row else f"{name} (result)": values["metrics"].get(name, "") for name in metrics}
        table.append(row | {"error": values["error"] or "", "run": str(path.relative_to(folder))})
    return table


def _settings(jobs: Iterable[dict[str, Any]]) -> tuple[list[dict[str, str]], list[str]]:
    """Return the settings of jobs as they were typed, and the keys in which they differ."""
    words = [[word.partition("=") for word in values["overrides"]] for values in jobs]
    settings = [{key.lstrip("+"): value for key, _, value in each} for each in words]
    names = dict.fromkeys(name for found in settings for name in found)
    return settings, [name for name in names if len({found.get(name) for found in settings}) > 1]


def keep(folder: Path) -> bool:
    """Tell whether any job of the sweep began; if none did, remove what Hydra had already written."""
    if any(folder.glob(f"**/{status.NAME}")):
        return True
    (folder / RECORD).unlink(missing_ok=True)
    status.remove_if_empty(folder)
    return False


def report(folder: Path, words: list[str], *, stopped: bool = False) -> int:
    """Print the table, write it to results.csv in the sweep's folder, and return 1 if a job failed, else 0.

    Args:
        folder: the sweep's folder.
        words: the command line of the sweep.
        stopped: whether a signal ended the sweep before its last job.
    """
    import csv  # here, so that the help answers at once

    table = rows(folder)
    with replacing(folder / NAME) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    whole = set(list(table[0])[: list(table[0]).index("state")])
    cells = [
        list(table[0]), *([str(v) if key in whole else _cell(v) for key, v in row.items()] for row in table)
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*cells)]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
    lost = sum(row["state"] != "done" for row in table)
    failed = sum(row["state"] == "failed" for row in table) if stopped else lost
    note = f"; {failed} failed" if failed else ""
    print(f"{counted(len(table), 'job')}{note}; table: {folder / NAME}")
    if lost or stopped:
        rest = "go on with the rest; jobs that are done are left out" if stopped else "run only those that failed"
        print(f"to {rest}:\n{again(words)}", flush=True)
    return int(failed > 0)


def again(words: Sequence[str]) -> str:
    """Return the command that runs the jobs of a sweep which are not done; it finds the folder by its words."""
    return command(*(word for word in words if word != ANEW))


def _cell(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 12]}...{text[-9:]}"  # names often differ at the end
