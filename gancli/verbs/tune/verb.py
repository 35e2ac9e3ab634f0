"""The keys of gancli tune.

gancli tune model=dcgan data=mnist space=gan_lr trials=30
gancli tune model=dcgan data=mnist 'optimizer.lr=interval(1e-5,1e-2)' 'loss=choice(hinge,nonsaturating)'
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from gancli.errors import UsageError
from gancli.verbs import train
from gancli.verbs.base import MISSING, POSITIVE, Verb, between, key

Sampler = Enum("Sampler", ["tpe", "random"])
Pruner = Enum("Pruner", ["median", "hyperband", "none"])


@dataclass
class Keys(train.Keys):
    """Root keys of ``gancli tune``: those of ``gancli train``, and how they are searched."""

    space: Any = key(free=True)
    trials: int = key(POSITIVE)
    objective: str | None = MISSING
    sampler: Sampler = MISSING
    pruner: Pruner = MISSING
    evaluations: int = key(between(1, 1000))


def check(values: Mapping[str, Any]) -> None:
    """Refuse what cannot be compared, or would be tuned on other images than those held out for it.

    Raises:
        UsageError: a lecture, or no images held out of train.
    """
    if values["lecture"] is not None:
        raise UsageError("a lecture draws a figure, and has no score to tune; omit experiment=lecture/...")
    if (values["data"] or {}).get("validation") == 0:
        raise UsageError("data.validation=0: trials are compared on images held out of train; set data.validation=0.05")
    train.check(values)


def unused(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys that have no effect beside the others, with the reasons."""
    found = train.unused(values)
    found |= dict.fromkeys(("resume", "other_data"), "the same command goes on with a search; omit it")
    return found


def folder_name(number: int) -> str:
    """Return the name of the folder of a trial."""
    return f"trial-{number}"


def run(cfg: Any, folder: Path) -> dict[str, float]:
    """See summarise()."""
    from gancli.verbs.tune.run import summarise

    return summarise(folder)


VERB = Verb(name="tune", keys=Keys, run=run, check=check, unused=unused, extends="train", searches=True)
