"""The ``doctor`` verb: the alarms of finished or running runs, computed from their metrics.jsonl.

gancli doctor outputs/digits-dcgan/2026-11-20_13-50-00-000000
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gancli.verbs.base import Verb, key


@dataclass
class Keys:
    """Root keys of ``gancli doctor``."""

    runs: Any = key(path=True)  # a path or a list of them


def doctor(cfg: Any, folder: Path) -> dict[str, float]:
    """Print the alarms of ``cfg.runs``, the same as in training, and return their number.

    Raises:
        UsageError: no such run.
    """
    from gancli.training.doctor.history import History  # imported late, as these imports take a third of a second
    from gancli.training.doctor.rules import MEASURED
    from gancli.verbs.report import runs

    alarms = 0
    for run in runs.read_all(cfg.runs):
        history = History(run.history)
        alarms += len(history.alarms)
        print(run.folder)
        for line in history.summary() or ["doctor: no examinations were recorded; set doctor.every=5k and train again"]:
            print(f"  {line}")
        if history.examined:
            row = history.history.row.items()
            print("  newest: " + told({key.removeprefix(MEASURED): v for key, v in row if key.startswith(MEASURED)}))
        if run.error:
            print(f"  {run.state}: {run.error}")
    return {"alarms": alarms}


def told(measured: Mapping[str, float]) -> str:
    """Return values in one line; those whose names differ by a number, such as the KL of each latent, as a range."""
    series: dict[str, dict[str, float]] = {}
    for name, value in measured.items():
        series.setdefault(re.sub(r"_\d+$", "_*", name), {})[name] = value
    parts = []
    for name, values in series.items():
        low, high = min(values.values()), max(values.values())
        parts.append(f"{name} {low:.3g} to {high:.3g}" if len(values) > 1 else f"{next(iter(values))} {low:.3g}")
    return "  ".join(parts)


VERB = Verb(
    name="doctor",
    keys=Keys,
    run=doctor,
    bare="runs",
)
