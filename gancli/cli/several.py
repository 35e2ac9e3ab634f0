"""One verb on several checkpoints, one after the other, each composed with its own saved config.

gancli eval latest 'outputs/sweep/*'
gancli sample outputs/sweep/* out=pictures    # a folder for each in pictures/
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from gancli.cli.arguments import replaced, value_of
from gancli.config import composition
from gancli.errors import UsageError
from gancli.structure import is_spread
from gancli.training import checkpoint
from gancli.verbs.base import Verb
from gancli.verbs.report import runs
from gancli.verbs.report.grouping import SEED, columns, labels
from gancli.verbs.report.runs import Run

OUT = "out"  # the key of the folder that a verb writes into
_WIDEST = 60  # characters of an error in the table; the whole line was printed when it happened


class Ended(NamedTuple):
    """How one of several checkpoints ended: with values, or with an error."""

    path: Path
    values: Mapping[str, float]
    error: str | None


def each(verb: Verb, settings: list[str], *, multirun: bool) -> list[tuple[Path, list[str]]]:
    """Return the checkpoints that the command line names, each with the settings for it alone.

    Only a verb that takes checkpoints as bare words takes several of them: in a list, as the folder of a sweep, or as a
    glob. Of the runs in a folder those without a checkpoint are left out, and it is said. A path that does not exist
    stands for itself, so that the others go on.

    Returns:
        An empty list if the verb takes one checkpoint only, or none is named, or Hydra sweeps over them.

    Raises:
        UsageError: a folder or glob holds no run with a checkpoint, or several are named in a sweep of Hydra.
    """
    key = verb.checkpoint if verb.several else None
    value = value_of(settings, key) if key else None
    if key is None or value is None or value in ("", "null", "???"):
        return []
    listed = value.startswith("[") and not Path(value).exists()
    if multirun and not listed:
        return []
    words = composition.words_of(f"{key}={value}") if listed else [value]
    paths = [path for word in words if len(words) == 1 or not _is_other(word) for path in _checkpoints(word, key)]
    found = list({path.resolve(): path for path in paths}.values())
    if multirun and len(found) > 1:
        raise UsageError(f"{key}={value} names {len(found)} checkpoints, which -m cannot combine with a sweep; omit -m")
    out = value_of(settings, OUT) if len(found) > 1 else None
    into = [settings if out in (None, "null") else replaced(settings, OUT, f"{out}/{name}") for name in _names(found)]
    return [(path, replaced(words, key, str(path))) for path, words in zip(found, into)]


def _names(paths: Sequence[Path]) -> list[str]:
    """Return the place of each checkpoint below the folder that they share, the name of its part of ``out=``."""
    places = [path.resolve() for path in paths]
    places = [path.with_suffix("") if path.is_file() else path for path in places]
    return [str(path.relative_to(os.path.commonpath([each.parent for each in places]))) for path in places]


def _checkpoints(word: str, key: str) -> list[Path]:
    """Return the files and run folders that a word stands for."""
    paths = runs.matching(word)
    if not paths and not any(mark in word for mark in "*?["):
        return [Path(word).expanduser()]
    if paths == [Path(word).expanduser()] and (paths[0].is_file() or checkpoint.numbered(_run(paths[0]))):
        return paths
    files = [path for path in paths if path.is_file() and path.suffix == ".pt"]
    folders = [run for path in paths if path.is_dir() for run in runs.below(path)]
    there = [folder for folder in folders if checkpoint.numbered(folder)]
    if not files and not there:
        what = f"none of its {len(folders)} runs has a checkpoint yet" if folders else "no run there"
        raise UsageError(f"{key}={word}: {what}; name run folders, sweeps or globs, such as 'outputs/sweep/*'")
    if missing := len(folders) - len(there):
        print(f"gancli: {missing} of the {len(folders)} runs of {word} have no checkpoint and are left out", flush=True)
    return [*files, *there]


def _is_other(word: str) -> bool:
    """Tell whether a word is a file beside the runs of a sweep, such as results.csv, which ``sweep/*`` includes."""
    return Path(word).is_file() and Path(word).suffix in (".csv", ".yaml", ".html", ".md", ".txt")


def _run(path: Path) -> Path:
    """Return the run folder of a checkpoint file, a folder of checkpoints, or of itself."""
    folder = path.parent if path.is_file() else path
    return folder.parent if folder.name == checkpoint.FOLDER else folder


def table(ended: Sequence[Ended]) -> str:
    """Return a table with a line per checkpoint: what tells their runs apart, their values, and what failed."""
    names, cells = _settings([each.path for each in ended])
    keys = list(dict.fromkeys(key for each in ended for key in each.values if not is_spread(key)))
    lines = [[*names, *keys, "checkpoint"]]
    for each, own in zip(ended, cells):
        values = [f"{each.values[key]:.4g}" if key in each.values else "-" for key in keys]
        lines.append([*own, *values, f"{each.path}  failed: {each.error[:_WIDEST]}" if each.error else str(each.path)])
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths)).rstrip() for line in lines)


def _settings(paths: Sequence[Path]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return the settings in which the runs of the checkpoints differ, and a tuple of their values per checkpoint."""
    found = [_read(_run(path)) for path in paths]
    there = [run for run in found if run]
    names = [*columns(there), *([SEED] if len({run.seed for run in there}) > 1 else [])]
    own = iter(labels(there, names))
    return names, [next(own) if run else ("-",) * len(names) for run in found]


def _read(folder: Path) -> Run | None:
    """Return what a run folder says of itself; None if there is none, or it cannot be read, which is no new error."""
    try:
        return runs.read(folder) if (folder / runs.CONFIG).is_file() else None
    except (OSError, UsageError):
        return None
