"""Examinations of a run: what cannot be measured is left out and said once, so that none ends a run or changes it."""

import logging
import math
from collections.abc import Callable

import torch
from torch import Tensor

from gancli.training.doctor.rules import MEASURED
from gancli.training.runtime import Runtime

log = logging.getLogger("gancli")

# What a computation may raise, memory and devices included; a signal or an exit is none of them.
FAILURES = (
    ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, NotImplementedError, OSError,
    RuntimeError, TypeError, ValueError,
)  # fmt: skip


class Examination:
    """The measurements of a run in training, made safe.

    Args:
        make: returns the measurements: a function of the completed share of the run, in [0, 1], that returns scalars
            on the device.
        machine: device of the run.
    """

    def __init__(self, make: Callable[[], Callable[[float], dict[str, Tensor]]], machine: Runtime) -> None:
        self.measure: Callable[[float], dict[str, Tensor]] | None = None  # None if there is nothing to measure with
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
            found = self.measure(progress)
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


def _line(what: str, error: BaseException) -> str:
    reason = (str(error).splitlines() or [""])[0] or type(error).__name__
    return f"doctor: {what} ({reason}); training goes on without"
