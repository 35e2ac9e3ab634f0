"""Run folders as data: settings, history, cost and evaluations of a run, read without importing torch."""

import glob
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from gancli import config, structure
from gancli.config.legacy import renewed_choices, renewed_protocol
from gancli.errors import UsageError, counted
from gancli.structure import read_json, read_rows
from gancli.training import checkpoint
from gancli.training.guard import told

CONFIG, STATUS, MACHINE, HISTORY = "config.yaml", "status.json", "machine.json", "metrics.jsonl"
FOLLOWING = ("runtime", "features", "internal", "local")  # groups that do not identify an experiment
VALIDATION = "validation"
log = logging.getLogger("gancli")


class Card(NamedTuple):
    """One evaluation: a score card written by ``gancli eval``."""

    file: Path
    values: dict[str, float]
    floor: dict[str, Any]  # values of real images scored against other real images, and their number; may be empty
    images_seen: int
    protocol: dict[str, Any]  # flattened to dotted keys
    better: dict[str, bool]  # of its values, whether higher is better; empty on cards of gancli 0.1


class Choice(NamedTuple):
    """The best checkpoint of a run on the validation split."""

    images: int  # seen in training
    value: float  # on the validation split
    key: str  # of this value
    among: int  # checkpoints that were compared


@dataclass(frozen=True)
class Run:
    """One run folder."""

    folder: Path
    settings: dict[str, Any]  # the config by dotted keys; a target is the name of its class
    choices: dict[str, str]  # config group -> option; empty if the run was not started from the command line
    typed: tuple[str, ...]  # keys of the overrides, in the order they were typed
    state: str  # done, running, failed, interrupted or unknown
    error: str | None
    device: str | None
    history: tuple[dict[str, float], ...]  # rows of metrics.jsonl
    cards: tuple[Card, ...]
    eval_split: str  # split of the evaluations during training
    eval_best: str  # key of the value that chooses the best checkpoint
    eval_metrics: tuple[str, ...]  # what gancli eval computes of it, unless others are named
    eval_features: str  # class of the features, likewise
    wall: float | None  # wall time of the last command, in seconds
    job: int  # index in the sweep
    damaged: tuple[str, ...] = field(default=())  # files that could not be read

    @property
    def seed(self) -> int:
        return self.settings.get("seed", 0)

    @cached_property
    def images(self) -> int:
        """Images seen in training."""
        stems = [p.stem for p in (self.folder / "checkpoints").glob("*.pt")]
        return max([int(s) for s in stems if s.isdigit()] + [int(row["images"]) for row in self.history] + [0])

    @cached_property
    def seconds(self) -> float | None:
        """Seconds spent in training steps over all resumptions, without evaluations and grids; else wall time."""
        total, before = 0.0, 0.0
        for row in self.history:
            if rate := row.get("runtime/images_per_s"):
                total, before = total + (row["images"] - before) / rate, row["images"]
        return total or self.wall

    def curve(self, key: str) -> dict[int, float]:
        """Return the values of a scalar by the number of images seen."""
        return {int(row["images"]): row[key] for row in self.history if key in row}

    def newest(self, key: str) -> float | None:
        """Return the last value of a scalar, or None if it was never logged."""
        return next((row[key] for row in reversed(self.history) if key in row), None)

    def grid(self, direction: str | None = None) -> Path | None:
        """Return the newest picture of its first view, that of a direction if it has one."""
        files = sorted((self.folder / "samples").glob("[0-9]*.png"))
        first = [file for file in files if file.stem.isdigit()]  # those of other views have their names at the end
        return max([file for file in files if file.stem.endswith(f"-{direction}")] or first or files, default=None)

    def growth(self) -> Path | None:
        """Return the newest picture of the levels of a network that grows; None if it does not."""
        return max((self.folder / "samples").glob("[0-9]*-growth.png"), default=None)


def find(named: str | Sequence[str], key: str = "runs") -> list[Path]:
    """Return the run folders that match, each once, in the order given.

    Args:
        named: run folders, folders of runs (sweeps), glob patterns, or ``latest``.
        key: the key of the command line that names them, for messages.

    Raises:
        UsageError: one of them matches nothing, or none of them holds a run.
    """
    found: dict[Path, None] = {}
    names, others = [named] if isinstance(named, str) else [str(name) for name in named], []
    for name in names:
        paths = matching(name)
        runs = [run for path in paths for run in below(path)]
        others += [] if runs else [name]
        found |= {run.resolve(): None for run in runs}
        if not paths or (not found and name == names[-1]):
            what = "holds no run" if paths else "matches nothing"
            raise UsageError(f"{key}={name} {what}: name run folders, sweeps or globs, such as {key}='outputs/sweep/*'")
    if others:
        log.warning("%d of %d names hold no run and are left out: %s", len(others), len(names), ", ".join(others))
    return list(found)


def matching(name: str) -> list[Path]:
    """Return the files and folders of a name: itself if it exists, else what it matches as a glob, or ``latest``."""
    if name == checkpoint.LATEST:
        return [checkpoint.latest()]
    path = Path(name).expanduser()
    return [path] if path.exists() else [Path(each) for each in sorted(glob.glob(str(path)))]


def below(path: Path) -> list[Path]:
    """Return a folder itself if it is a run, else all runs below it."""
    return [path] if (path / CONFIG).is_file() else [file.parent for file in sorted(path.glob(f"**/{CONFIG}"))]


def read(folder: Path) -> Run:
    """Read a run folder. Score cards that cannot be read are left out and listed in ``damaged``. Raises UsageError."""
    cfg = config.from_file(folder / CONFIG)
    status = told(folder, read_json(folder / STATUS, structure.STATUS)) or {}
    machines = read_json(folder / MACHINE, structure.MACHINES) or []
    evaluated = _node(cfg, "eval")
    choices = renewed_choices(status.get("choices", {}))
    damaged: list[str] = []
    devices = list(dict.fromkeys(each["device"] for each in machines))
    return Run(
        folder=folder,
        settings=config.flat(cfg),
        choices={k: _word(v) for k, v in choices.items() if k.partition("/")[0] not in FOLLOWING},
        typed=tuple(word.lstrip("+").partition("=")[0] for word in status.get("overrides", ())),
        state=status.get("state", "unknown"),
        error=(status.get("error") or "").removeprefix("Interrupted: ") or None,  # of gancli 0.1
        device=", then ".join(devices) or None,
        history=tuple(read_rows(folder / HISTORY)),
        cards=tuple(_cards(folder / "eval", damaged)),
        eval_split=str(evaluated.get("split", "")),
        eval_best=str(evaluated.get("best", "")),
        eval_metrics=tuple(map(str, evaluated.get("metrics") or ())),
        eval_features=str(_node(cfg, "features").get("_target_", "")),
        wall=status.get("seconds") or None,
        job=status.get("job") or 0,
        damaged=tuple(damaged),
    )


def read_all(named: str | Sequence[str]) -> list[Run]:
    """Read the runs that ``find`` returns; runs of one sweep are in the order of its jobs.

    A run that cannot be read is left out, with one warning for all of them, unless there is no other.

    Raises:
        UsageError: see find(), or no run can be read.
    """
    folders = find(named)
    found, wrong = [], dict[Path, UsageError]()
    for folder in folders:
        try:
            found.append(read(folder))
        except UsageError as error:
            wrong[folder] = error
    if not found:
        raise next(iter(wrong.values()))
    if wrong:
        told = "; ".join(str(error).removesuffix(config.RESTORE) for error in wrong.values())
        log.warning("left out %d of %s that cannot be read: %s", len(wrong), counted(len(folders), "run"), told)
    parents = list(dict.fromkeys(run.folder.parent for run in found))
    return sorted(found, key=lambda run: (parents.index(run.folder.parent), run.job))


def _node(cfg: Any, key: str) -> dict[str, Any]:
    node = config.plain(cfg).get(key)
    return node if isinstance(node, dict) else {}


def _word(choice: str) -> str:
    """Format a choice of several options as it is typed: ['r1', 'drift'] becomes [r1,drift]."""
    return re.sub(r"[' ]", "", choice)


def _cards(folder: Path, damaged: list[str]) -> list[Card]:
    found = []
    for file in sorted(folder.glob("*.json")):
        card = read_json(file, structure.CARD)
        if card is None or card.get("images_seen") is None:
            damaged.append(str(file))
            continue
        protocol = flatten(renewed_protocol(card["protocol"]))
        found.append(
            Card(file, card["values"], card.get("floor", {}), card["images_seen"], protocol, card.get("better", {}))
        )
    return found


def flatten(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested dictionaries by their dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def chosen(run: Run, key: str | None, higher: bool, cards: Sequence[Card]) -> Choice | None:
    """Return the checkpoint with the best value on the validation split, or None if there is no such value.

    Args:
        run: the run.
        key: key of the value; None for the run's own ``eval.best``.
        higher: whether higher is better.
        cards: evaluations on the validation split, of one protocol. Used if none were made during training.
    """
    key = key or run.eval_best
    values = run.curve(f"eval/{key}") if run.eval_split == VALIDATION else {}
    values = values or {card.images_seen: card.values[key] for card in cards if key in card.values}
    if not values:
        return None
    images = (max if higher else min)(values, key=lambda at: (values[at], -at if higher else at))  # the first of equals
    return Choice(images, values[images], key, len(values))
