"""The keys of gancli report.

gancli report outputs/sweep/model+seed-1a2b3c
"""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from gancli.verbs.base import MISSING, Split, Verb, key

Protocols = Enum("Protocols", ["same", "mixed"])


@dataclass
class Keys:
    """Root keys of ``gancli report``."""

    runs: Any = key(path=True)  # a path or a list of them
    out: str | None = key(path=True)
    metrics: list[str] | None = MISSING
    split: Split = MISSING
    best: str | None = MISSING
    protocols: Protocols = MISSING
    only: Any = key(free=True)  # protocol facts, with any names


def run(cfg: Any, folder: Path) -> dict[str, float]:
    """See report()."""
    from gancli.verbs.report.run import report

    return report(cfg)


VERB = Verb(
    name="report",
    keys=Keys,
    run=run,
    bare="runs",
)
