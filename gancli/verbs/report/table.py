"""The table of a report: one row per group of runs that differ only in their seed, with their scores and cost."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from gancli.errors import UsageError, counted, did_you_mean
from gancli.structure import is_spread
from gancli.verbs.report import protocols
from gancli.verbs.report.grouping import columns, labels, text
from gancli.verbs.report.runs import VALIDATION, Card, Choice, Run, chosen

LAST, BEST, BEST_SEED = "last", "best", "best seed"
WIDEST = 9  # score columns that fit into one table
Better = Mapping[str, bool | None]  # value -> whether higher is better; None if neither is


class Grid(NamedTuple):
    """A sample grid with its caption."""

    path: Path
    labels: tuple[str, ...]  # of its run, and the direction unless it shows all directions
    run: "Scored"
    first: bool  # whether the run is the first of its row
    score: float | None  # the run's first value, if it has one evaluation, of the direction that the grid shows


class Score(NamedTuple):
    """One cell: a value averaged over seeds."""

    mean: float
    std: float | None  # over seeds, ddof 1; None for a single seed
    n: int  # seeds


@dataclass(frozen=True)
class Scored:
    """A run with its reported evaluations."""

    run: Run
    last: Card | None  # of the newest checkpoint
    best: Card | None  # of the best checkpoint on the validation split
    choice: Choice | None
    cards: tuple[Card, ...]  # all evaluations on the reported split, of one protocol

    def grid(self) -> Path | None:
        """Return the newest sample grid, of translations in this direction."""
        return self.run.grid(self.cards[0].protocol.get(protocols.DIRECTION) if self.cards else None)


@dataclass(frozen=True)
class Row:
    """Runs that differ only in their seed."""

    labels: tuple[str, ...]
    runs: tuple[Scored, ...]

    def score(self, key: str, kind: str, better: Better) -> Score | None:
        """Return a value averaged over seeds: of the last checkpoints, the best ones, or the best seed's best one."""
        runs = self.best_seed(better) if kind == BEST_SEED else self.runs
        cards = [each.last if kind == LAST else each.best for each in runs]
        values = [card.values[key] for card in cards if card and key in card.values]
        if not values:
            return None
        return Score(fmean(values), stdev(values) if len(values) > 1 else None, len(values))

    def best_seed(self, better: Better) -> tuple[Scored, ...]:
        """Return the run with the best validation value, or an empty tuple if no run has one."""
        candidates = [(each.choice, each) for each in self.runs if each.choice]
        if not candidates:
            return ()
        pick = max if better.get(candidates[0][0].key) else min
        return (pick(candidates, key=lambda each: each[0].value)[1],)

    def floor(self, key: str) -> tuple[float, int] | None:
        """Return the value of real images scored against as many other real images, and their number."""
        for card in (card for each in self.runs for card in each.cards):
            if key in card.floor.get("values", {}):
                return card.floor["values"][key], card.floor["images"]
        return None

    def over_seeds(self, fact: Callable[[Run], float | None]) -> Score | None:
        """Return a fact of the runs averaged over seeds; None if no run has it."""
        values = [value for each in self.runs if (value := fact(each.run)) is not None]
        return Score(fmean(values), stdev(values) if len(values) > 1 else None, len(values)) if values else None


@dataclass(frozen=True)
class Table:
    """The contents of a report, independent of its format."""

    columns: tuple[str, ...]  # keys in which the rows differ
    rows: tuple[Row, ...]
    keys: tuple[str, ...]  # of the values
    kinds: tuple[str, ...]  # columns per value: last, best, best seed
    better: Better
    protocol: Mapping[str, Any]  # facts that all rows share
    apart: Mapping[str, list[Any]]  # what it differs in: directions of translations, and more with protocols=mixed
    split: str

    def parts(self) -> list[tuple[str, ...]]:
        """Split the values into tables that fit on a page; the first leaves room for the columns of cost."""
        one = WIDEST // len(self.kinds)
        if len(self.keys) <= one:
            return [self.keys]
        first, rest = self.keys[: one - 1], self.keys[one - 1 :]
        return [first, *(rest[i : i + one] for i in range(0, len(rest), one))]

    @property
    def losses(self) -> tuple[str, ...]:
        """The losses that stand in for the values where nothing is scored yet."""
        rows = [row for each in self.runs() for row in each.run.history] if not self.keys else []
        return tuple(dict.fromkeys(key for row in rows for key in row if key.startswith("loss/")))

    @property
    def translated(self) -> bool:
        """Whether its images are translations, of pictures instead of latents."""
        return protocols.DIRECTION in self.apart or protocols.DIRECTION in self.protocol

    def direction(self, row: Row) -> str | None:
        """Return the direction of a row of translations, if there are several."""
        return row.labels[self.columns.index(protocols.DIRECTION)] if protocols.DIRECTION in self.apart else None

    def grids(self) -> list[Grid]:
        """Return the newest sample grid of every run.

        One that shows all directions is there only once, and so is that of a run with several evaluations: training
        drew it without their options, such as a truncation, and it has none of their values.
        """
        own, several = len(self.columns) - len(self.apart), bool({*self.apart} - {protocols.DIRECTION})
        found: dict[tuple[Path, tuple[str, ...]], Grid] = {}
        for row in self.rows:
            for each in row.runs:
                path, direction = each.grid(), self.direction(row)
                if path is None:
                    continue
                whole = direction is not None and not path.stem.endswith(f"-{direction}")
                labels = (*row.labels[:own], *([] if whole or direction is None else [direction]))
                score = None if whole or several or each.last is None else each.last.values.get(self.keys[0])
                found[path, labels] = Grid(path, labels, each, each is row.runs[0], score)
        return list(found.values())

    def runs(self) -> list[Scored]:
        return [each for row in self.rows for each in row.runs]


def build(
    runs: Sequence[Run], *, split: str, best: str | None, keys: Sequence[str] | None, only: Mapping[str, Any],
    mixed: bool, better: Callable[[], Better], score: Callable[..., str],
) -> Table:  # fmt: skip
    """Group the runs, choose their checkpoints, and refuse what cannot be compared. Without evaluations it has no keys.

    Args:
        runs: one or more.
        split: whose evaluations are reported.
        best: key of the value that chooses a checkpoint on the validation split; None for each run's own eval.best.
        keys: values to show; None for all that were measured.
        only: facts that the protocol of an evaluation must have.
        mixed: whether evaluations of different protocols are allowed in one table.
        better: returns the directions of all values; called after all other checks, because it imports torch.

        score: returns the command that scores the runs, with more settings.

    Raises:
        UsageError: no such value, no evaluation of the protocol that is asked for, or several protocols.
    """
    every = [[card for card in run.cards if card.protocol.get("split") == split] for run in runs]
    protocols.check_keys([card for each in every for card in each], only)
    reported = [protocols.selected(each, only) for each in every]
    cards = [card for each in reported for card in each]
    asked = (*(keys or ()), *([best] if best else []))
    if not cards and (only or asked):
        such = f"with only={dict(only)}" if only else f"which {asked[0]} needs"
        raise UsageError(
            f"none of the {counted(len(runs), 'run')} has an evaluation on the {split} split, {such}; "
            f"score them with:\n{score(*([f'metrics=[{asked[0]}]'] if asked and not only else []))}"
        )
    known = measured(cards)
    for key in asked:
        if key not in known:
            raise UsageError(f"no value {key!r} was measured{did_you_mean(key, known)} (allowed: {', '.join(known)})")
    apart = protocols.apart(cards)
    if not mixed:
        protocols.require_one(cards)
    known_better = better()
    own = columns(runs)
    rows: dict[tuple[str, ...], list[Scored]] = {}
    for run, name, found in zip(runs, labels(runs, own), reported):
        for facts, part in _parts(found, apart):
            rows.setdefault((*name, *facts), []).append(_scored(run, part, best, known_better))
    table = tuple(Row(name, _one_per_seed(each)) for name, each in rows.items())
    kinds = [LAST]
    if any(each.best for row in table for each in row.runs):
        kinds += [BEST, *([BEST_SEED] if any(len(row.runs) > 1 for row in table) else [])]
    unlike = protocols.differing(cards)
    shared = {key: value for card in cards[:1] for key, value in card.protocol.items() if key not in unlike}
    heads = (*own, *(f"{key} (eval)" if key in own else key for key in apart))  # no two columns of one name
    return Table(heads, table, tuple(keys or known), tuple(kinds), known_better, shared, apart, split)


def measured(cards: Sequence[Card]) -> list[str]:
    """Return the keys of the measured values, without standard deviations and errors."""
    keys = dict.fromkeys(key for card in cards for key in card.values)
    return [key for key in keys if not is_spread(key)]


def _parts(cards: Sequence[Card], apart: Mapping[str, Any]) -> list[tuple[tuple[str, ...], list[Card]]]:
    """Group a run's evaluations by the protocol facts in ``apart``, each group with its cells."""
    parts: dict[tuple[str, ...], list[Card]] = {}
    for card in cards:
        parts.setdefault(tuple(text(card.protocol.get(key)) for key in apart), []).append(card)
    return list(parts.items()) or [(("-",) * len(apart), [])]


def _scored(run: Run, cards: Sequence[Card], best: str | None, better: Better) -> Scored:
    validation = [card for card in run.cards if card.protocol.get("split") == VALIDATION]
    if protocols.differing(validation):
        validation = []
    key = best or run.eval_best
    choice = chosen(run, key, higher=bool(better[key]), cards=validation) if better.get(key) is not None else None
    return Scored(run, _at(cards, run.images), _at(cards, choice.images) if choice else None, choice, tuple(cards))


def _at(cards: Sequence[Card], images: int) -> Card | None:
    """Return the evaluation of the checkpoint at ``images``; the values of several evaluations are merged."""
    found = [card for card in cards if card.images_seen == images]
    if not found:
        return None
    values = {key: value for card in found for key, value in card.values.items()}
    floor: dict[str, Any] = next((card.floor for card in reversed(found) if card.floor), {})
    return found[-1]._replace(values=values, floor=floor)


def _one_per_seed(runs: Sequence[Scored]) -> tuple[Scored, ...]:
    """Keep only the newest run of each seed: repeating a seed adds no independent run."""
    newest = {each.run.seed: each for each in sorted(runs, key=_age)}
    return tuple(newest[seed] for seed in sorted(newest))


def _age(each: Scored) -> tuple[bool, float]:
    return each.last is not None, (each.run.folder / "config.yaml").stat().st_mtime
