"""From signs to alarms: the history of a run, row by row, in training as in ``gancli doctor RUN``."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from gancli.training.doctor.rules import MEASURED, RULES, Readings, Rule, Sign


class Alarm(NamedTuple):
    """A trouble that lasted."""

    name: str
    title: str
    since: int  # images at the first of the examinations that showed it
    last: int  # images at the newest that did
    until: int | None  # images at the first that no longer did; None: it lasts
    sign: Sign  # of the last examination that showed it

    def line(self) -> str:
        """Return one line: what, since when, why, what to try."""
        end = "" if self.until is None else f" until {self.until:,}"
        return f"{self.title} since {self.since:,} images{end}: {self.sign.words}; try {self.sign.advice}"


class History:
    """All examinations of a run and what follows from them: a function of the rows alone.

    An alarm begins when a rule's sign was there for its ``patience`` in a row, and ends when it was away as long.
    """

    def __init__(self, rows: Iterable[Mapping[str, float]] = (), rules: tuple[Rule, ...] = RULES) -> None:
        self.history, self.rules = Readings(), rules
        self.examined = 0
        self.alarms: list[Alarm] = []  # in the order in which they began, those that are over among them
        self._seen: dict[str, tuple[int, int]] = {}  # rule -> images of the first sign of the streak, its length
        self._away: dict[str, tuple[int, int]] = {}  # rule -> the same of the examinations without it
        for row in rows:
            self.add(row)

    def add(self, row: Mapping[str, float]) -> list[Alarm]:
        """Take in a row of metrics.jsonl and return the alarms that begin or end with it."""
        if not any(key.startswith(MEASURED) for key in row):
            return []
        self.examined += 1
        self.history.add(row)
        found = [self._judge(rule, int(row["images"])) for rule in self.rules]
        return [alarm for alarm in found if alarm is not None]

    @property
    def lasting(self) -> list[Alarm]:
        """Return the alarms that are not over."""
        return [alarm for alarm in self.alarms if alarm.until is None]

    def summary(self) -> list[str]:
        """Return a line per alarm, or the one that says that there was none; nothing if nothing was examined."""
        if not self.examined:
            return []
        if not self.alarms:
            return [f"doctor: no alarm in {self.examined} examinations"]
        return [f"doctor: {alarm.line()}" for alarm in self.alarms]

    def _judge(self, rule: Rule, images: int) -> Alarm | None:
        sign = rule.look(self.history)
        at = next((i for i, each in enumerate(self.alarms) if each.name == rule.name and each.until is None), None)
        streak, other = (self._seen, self._away) if sign else (self._away, self._seen)
        other.pop(rule.name, None)
        since, length = streak.get(rule.name, (images, 0))
        streak[rule.name] = since, length + 1
        if sign and at is not None:
            self.alarms[at] = self.alarms[at]._replace(sign=sign, last=images)
        elif sign and length + 1 >= rule.patience:
            self.alarms.append(Alarm(rule.name, rule.title, since, images, None, sign))
            return self.alarms[-1]
        elif not sign and at is not None and length + 1 >= rule.patience:
            self.alarms[at] = self.alarms[at]._replace(until=since)
            return self.alarms[at]
        return None
