"""The history of a run's examinations, and the alarms that follow from it."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from gancli.errors import counted
from gancli.training.doctor.rules import MEASURED, RULES, Readings, Rule, Sign, nothing_learned


class Alarm(NamedTuple):
    """A problem that persisted over several examinations."""

    name: str
    title: str
    since: int  # images seen at the first examination that showed it
    last: int  # images seen at the newest examination that showed it
    until: int | None  # images seen at the first examination without it; None while it lasts
    sign: Sign  # from the newest examination that showed it

    def line(self) -> str:
        """Return one line: the problem, since when, the evidence, and what to try."""
        end = "" if self.until is None else f" until {self.until:,}"
        return f"{self.title} since {self.since:,} images{end}: {self.sign.words}; try {self.sign.advice}"


class History:
    """The examinations of a run and their alarms, which depend only on the rows.

    An alarm begins after ``patience`` consecutive examinations that show a rule's sign, and ends after as many without
    it. Training and ``gancli doctor RUN`` both use this class.
    """

    def __init__(self, rows: Iterable[Mapping[str, float]] = (), rules: tuple[Rule, ...] = RULES) -> None:
        self.history, self.rules = Readings(), rules
        self._between: dict[str, float] = {}  # losses, gradients and learning rates logged since the last examination
        self.examined = 0
        self.alarms: list[Alarm] = []  # in the order in which they began, including those that have ended
        self._seen: dict[str, tuple[int, int]] = {}  # rule -> images at the start of a streak of signs, its length
        self._away: dict[str, tuple[int, int]] = {}  # rule -> the same for a streak without signs
        for row in rows:
            self.add(row)

    def add(self, row: Mapping[str, float]) -> list[Alarm]:
        """Add a row of metrics.jsonl and return the alarms that begin or end with it.

        Examinations have rows of their own, and are judged with the newest values that were logged since the last one.
        Until release 0.1 they were a part of those rows.
        """
        self._between |= row
        if not any(key.startswith(MEASURED) for key in row):
            return []
        self.examined += 1
        self.history.add(self._between)
        self._between = {key: value for key, value in self._between.items() if key.startswith("lr/")}
        found = [self._judge(rule, int(row["images"])) for rule in self.rules]
        return [alarm for alarm in found if alarm is not None]

    @property
    def lasting(self) -> list[Alarm]:
        """The alarms that have not ended."""
        return [alarm for alarm in self.alarms if alarm.until is None]

    def summary(self) -> list[str]:
        """Return one line per alarm, or a line that says there was none; empty if there were no examinations.

        A run without an alarm that has not learned anything so far is told that instead.
        """
        if not self.examined:
            return []
        early, examinations = nothing_learned(self.history), counted(self.examined, "examination")
        if early and not self.alarms:
            return [f"doctor: nothing learned yet in {examinations}: {early.words}; try {early.advice}"]
        if not self.alarms:
            return [f"doctor: no alarm in {examinations}"]
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
