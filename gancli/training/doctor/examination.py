"""Examinations of a run: what cannot be measured is left out and said once, so that none ends a run or changes it."""

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from gancli.training.doctor.attempts import FAILURES
from gancli.training.doctor.rules import MEASURED
from gancli.training.runtime import Runtime

log = logging.getLogger("gancli")

Measured = Mapping[str, Tensor | Exception]  # what failed is its exception


class Examination:
    """The measurements of a run in training, made safe.

    Args:
        make: returns the measurements: a function of the completed share of the run, in [0, 1], that returns scalars
            on the device, or exceptions in place of those that cannot be computed.
        machine: device of the run.
    """

    def __init__(self, make: Callable[[], Callable[[float], Measured]], machine: Runtime) -> None:
        self.measure: Callable[[float], Measured] | None = None  # None if there is nothing to measure with
        self.said: set[str] = set()
        self.cautions: list[str] = []  # for the log of the run, which does not exist yet
        try:
            with machine.undisturbed():
                self.measure = make()
        except FAILURES as error:
            self.cautions.append(_line("no examination is possible", error))

    def __call__(self, progress: float) -> dict[str, float]:
        """Examine the run and return what could be measured, finite numbers by ``doctor/<name>``; one copy to the host.

        Weights, buffers and random states are left unchanged, also by an examination that fails.
        """
        if self.measure is None:
            return {}
        try:
            measured = self.measure(progress)
            self._say(measured)
            found = {name: value for name, value in measured.items() if isinstance(value, Tensor)}
            if not found:
                return {}
            values = dict(zip(found, torch.stack([value.double() for value in found.values()]).tolist()))
        except FAILURES as error:
            self.measure = None
            log.warning("%s", _line("examinations end here", error))
            return {}
        missing = [name for name, value in values.items() if not math.isfinite(value) and name not in self.said]
        if missing:
            self.said |= set(missing)
            names = ", ".join(name.removeprefix(MEASURED) for name in missing)
            log.warning("doctor: not a finite number here, and left out: %s", names)
        return {name: value for name, value in values.items() if math.isfinite(value)}

    def _say(self, measured: Measured) -> None:
        """Say once of each measurement that it fails, and why."""
        reasons: dict[str, list[str]] = defaultdict(list)
        for name, value in measured.items():
            if isinstance(value, Exception) and name not in self.said:
                self.said.add(name)
                reasons[_reason(value)].append(name.removeprefix(MEASURED))
        for reason, names in reasons.items():
            log.warning("doctor: not measured: %s (%s); training goes on without", ", ".join(names), reason)


def _reason(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__


def _line(what: str, error: BaseException) -> str:
    return f"doctor: {what} ({_reason(error)}); training goes on without"
