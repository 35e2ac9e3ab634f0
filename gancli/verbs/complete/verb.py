"""The keys of gancli complete.

gancli complete ckpt=latest image=3 mask=bottom
gancli complete ckpt=latest image=face.png mask=hole.png n=8
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gancli.verbs.base import BATCH, MISSING, POSITIVE, SEED, Runtime, Split, Verb, key


@dataclass
class Keys:
    """Root keys of ``gancli complete``."""

    ckpt: str = key(path=True)
    image: Any = key(path=True)  # a path, a number or numbers
    mask: str = key(path=True)
    n: Any = key(POSITIVE, count=True)
    out: str | None = key(path=True)
    split: Split = MISSING
    label: Any = MISSING  # a class's number or name
    seed: int = key(SEED)
    batch_size: int = key(BATCH)
    ema: bool = MISSING
    trust: list[str] = MISSING
    sampling: Any = key(free=True)  # arguments of Model.set_sampling()
    runtime: Runtime = field(default_factory=Runtime)


def run(cfg: Any, folder: Path) -> dict[str, float]:
    """See complete()."""
    from gancli.verbs.complete.run import complete

    return complete(cfg)


VERB = Verb(
    name="complete",
    keys=Keys,
    run=run,
    checkpoint="ckpt",
)
