"""The keys of gancli project.

gancli project ckpt=latest images=faces/
gancli project ckpt=latest 'image=[0,1,2]' space=w+ steps=300
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from gancli.errors import UsageError
from gancli.verbs.base import BATCH, MISSING, SEED, Range, Runtime, Split, Verb, between, key

Space = Enum("Space", ["auto", "z", "w", "w+"])


@dataclass
class Keys:
    """Root keys of ``gancli project``."""

    ckpt: str = key(path=True)
    images: str | None = key(path=True)
    image: Any = key(path=True)  # a path, a number or numbers
    out: str | None = key(path=True)
    split: Split = MISSING
    label: Any = MISSING  # a class's number or name
    space: Space = MISSING
    steps: int = key(between(1, 1_000_000))
    lr: float = key(Range(lambda value: 0 < value <= 1000, "must be above 0, and at most 1000"))
    restarts: int | None = key(between(1, 1024))
    seed: int = key(SEED)
    batch_size: int = key(BATCH)
    ema: bool = MISSING
    trust: list[str] = MISSING
    runtime: Runtime = field(default_factory=Runtime)


def check(values: Mapping[str, Any]) -> None:
    """Refuse two ways of naming the pictures. Raises UsageError."""
    if values["images"] is not None and values["image"] is not None:
        raise UsageError("images= names a folder and image= numbers or a file; use one of them")


def unused(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys that have no effect beside the others, with the reasons."""
    if values["images"] is None and not isinstance(values["image"], str):
        return {}
    return {"split": "it is that of image numbers, and pictures from files have none; omit it"}


def run(cfg: Any, folder: Path) -> dict[str, float]:
    """See project()."""
    from gancli.verbs.project.run import project

    return project(cfg)


VERB = Verb(name="project", keys=Keys, run=run, check=check, unused=unused, checkpoint="ckpt")
