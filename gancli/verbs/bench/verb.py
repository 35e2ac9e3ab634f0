"""The keys of gancli bench.

gancli bench model=dcgan data=mnist
gancli bench model=dcgan data=mnist runtime.precision=bf16 'compare=[runtime.precision=fp32,textbook]'
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gancli.errors import UsageError
from gancli.verbs import train
from gancli.verbs.base import MISSING, Range, Verb, between, key


@dataclass
class Keys(train.Keys):
    """Root keys of ``gancli bench``: those of ``gancli train``, and how it is measured."""

    rounds: int = key(between(5, 1000))
    seconds: float = key(Range(lambda value: 0 < value <= 600, "must be above 0, and at most 600"))
    compare: Any = key(path=True)  # words or settings; a path only in that it may hold the character =
    profile: bool = MISSING


def check(values: Mapping[str, Any]) -> None:
    """Refuse what cannot be measured. Raises UsageError."""
    if values["lecture"] is not None:
        raise UsageError("a lecture draws a figure, and has no training to measure; omit experiment=lecture/...")
    train.check(values)


def unused(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys that have no effect beside the others, with the reasons."""
    alone = ("resume", "other_data", "checkpoint", "samples", "eval", "doctor", "log")
    reason = "only training is measured, from its beginning, and nothing is saved or drawn; omit it"
    return {**train.unused(values), **dict.fromkeys(alone, reason)}


def run(cfg: Any, folder: Path) -> dict[str, float]:
    """See bench()."""
    from gancli.verbs.bench.run import bench

    return bench(cfg, folder)


VERB = Verb(name="bench", keys=Keys, run=run, check=check, unused=unused, extends="train")
