"""What a report knows of a run: its settings, history, cost and evaluations, read from its folder without torch."""

import glob
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from gancli import config
from gancli.config.legacy import renewed_protocol
from gancli.errors import UsageError
from gancli.files import json_lines

CONFIG, STATUS, MACHINE, HISTORY = "config.yaml", "status.json", "machine.json", "metrics.jsonl"
FOLLOWING = ("runtime", "features", "recipe", "local")  # groups that choose no experiment
VALIDATION = "validation"


class Card(NamedTuple):
    """One evaluation, as ``gancli eval`` wrote it."""

    file: Path
    values: dict[str, float]
    floor: dict[str, Any]  # images and values of real images against real ones; may be empty
    images_seen: int
    protocol: dict[str, Any]  # flattened to dotted keys
    better: dict[str, bool]  # of its values, whether higher is better; empty on cards of gancli 0.1


class Choice(NamedTuple):
    """The checkpoint that the validation split chose."""

    images: int
    value: float
    key: str  # of the value that it is best by
    among: int  # evaluations


@dataclass(frozen=True)
class Run:
    """One run folder."""

    folder: Path
    settings: dict[str, Any]  # dotted keys of its config, a target as its class's name
    choices: dict[str, str]  # group -> option; empty: the run was not started by the command line
    typed: tuple[str, ...]  # keys of its overrides, in their order
    state: str  # done, running, failed, interrupted or unknown
    error: str | None
    device: str | None
    history: tuple[dict[str, float], ...]  # rows of metrics.jsonl
    cards: tuple[Card, ...]
    eval_split: str  # of the evaluations during training
    eval_best: str
    wall: float | None  # seconds of its last command
    job: int  # in its sweep
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
        """Time of training alone, over all its resumptions: no evaluations, no grids."""
        total, before = 0.0, 0.0
        for row in self.history:
            if rate := row.get("runtime/images_per_s"):
                total, before = total + (row["images"] - before) / rate, row["images"]
        return total or self.wall

    def curve(self, key: str) -> dict[int, float]:
        """Return images seen -> a scalar of the history."""
        return {int(row["images"]): row[key] for row in self.history if key in row}

    def grid(self, direction: str | None = None) -> Path | None:
        """Return its newest sample grid, that of a direction if it has one."""
        files = sorted((self.folder / "samples").glob("[0-9]*.png"))
        return max([file for file in files if file.stem.endswith(f"-{direction}")] or files, default=None)


def find(named: str | Sequence[str]) -> list[Path]:
    """Return the run folders that names, globs and folders of runs (sweeps) stand for, each once, in their order.

    Raises:
        UsageError: one of them stands for none.
    """
    found: dict[Path, None] = {}
    for name in [named] if isinstance(named, str) else named:
        pattern = str(Path(str(name)).expanduser())
        paths = [Path(pattern)] if Path(pattern).exists() else [Path(p) for p in sorted(glob.glob(pattern))]
        runs = [run.parent for path in paths for run in _configs(path)]
        if not runs:
            what = "holds no run" if paths else "matches nothing"
            raise UsageError(f"runs={name} {what}: name run folders, sweeps or globs, such as runs='outputs/sweep/*'")
        found |= {run.resolve(): None for run in runs}
    return list(found)


def _configs(path: Path) -> list[Path]:
    own = path / CONFIG
    return [own] if own.is_file() else sorted(path.glob(f"**/{CONFIG}"))


def read(folder: Path) -> Run:
    """Read a run folder; what is torn or missing is left out and named in ``damaged``. Raises UsageError."""
    cfg = config.from_yaml((folder / CONFIG).read_text(encoding="utf-8"))
    status, machines = _json(folder / STATUS) or {}, _json(folder / MACHINE) or []
    on_the_way = cfg.get("eval") or {}
    damaged: list[str] = []
    devices = list(dict.fromkeys(each["device"] for each in machines))
    return Run(
        folder=folder,
        settings=config.flat(cfg),
        choices={k: _word(v) for k, v in status.get("choices", {}).items() if k not in FOLLOWING},
        typed=tuple(word.lstrip("+").partition("=")[0] for word in status.get("overrides", ())),
        state=status.get("state", "unknown"),
        error=status.get("error"),
        device=", then ".join(devices) or None,
        history=tuple(json_lines(folder / HISTORY)),
        cards=tuple(_cards(folder / "eval", damaged)),
        eval_split=str(on_the_way.get("split", "")),
        eval_best=str(on_the_way.get("best", "")),
        wall=status.get("seconds") or None,
        job=status.get("job") or 0,
        damaged=tuple(damaged),
    )


def read_all(named: str | Sequence[str]) -> list[Run]:
    """Read the runs that names stand for; those of one sweep in the order of its jobs. Raises UsageError."""
    found = [read(folder) for folder in find(named)]
    parents = list(dict.fromkeys(run.folder.parent for run in found))
    return sorted(found, key=lambda run: (parents.index(run.folder.parent), run.job))


def _word(choice: str) -> str:
    """Write a group's choice of several as it is typed: ['r1', 'drift'] -> [r1,drift]."""
    return re.sub(r"[' ]", "", choice)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _cards(folder: Path, damaged: list[str]) -> list[Card]:
    found = []
    for file in sorted(folder.glob("*.json")):
        card = _json(file)
        try:
            protocol = flatten(renewed_protocol(card["protocol"]))
            floor, better = card.get("floor", {}), card.get("better", {})
            found.append(Card(file, card["values"], floor, int(card["images_seen"]), protocol, better))
        except (TypeError, KeyError, ValueError, AttributeError):
            damaged.append(str(file))
    return found


def flatten(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested plain values by their dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def chosen(run: Run, key: str | None, higher: bool, cards: Sequence[Card]) -> Choice | None:
    """Return the checkpoint with the best ``key`` on the validation split, by the run's own evaluations or by cards.

    Args:
        run: the run.
        key: the value to choose by; None: the run's own eval.best.
        higher: whether higher is better.
        cards: its evaluations on the validation split, of one protocol, for runs that made none during training.
    """
    key = key or run.eval_best
    values = run.curve(f"eval/{key}") if run.eval_split == VALIDATION else {}
    values = values or {card.images_seen: card.values[key] for card in cards if key in card.values}
    if not values:
        return None
    images = (max if higher else min)(values, key=lambda at: (values[at], -at if higher else at))  # of equals the first
    return Choice(images, values[images], key, len(values))
