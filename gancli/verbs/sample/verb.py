"""The keys of gancli sample.

gancli sample ckpt=outputs/mnist-dcgan/... n=64 out=samples/
gancli sample ckpt=outputs/mnist-cdcgan/... label=3
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from gancli.verbs.base import BATCH, MISSING, POSITIVE, SEED, UNTRAINED, Runtime, Verb, key

Format = Enum("Format", ["png", "npz", "grid"])


@dataclass
class Keys:
    """Root keys of ``gancli sample``."""

    ckpt: str = key(path=True)
    n: Any = key(POSITIVE, count=True)
    out: str | None = key(path=True)
    seed: int = key(SEED)
    batch_size: int = key(BATCH)
    format: Format = MISSING
    ema: bool = MISSING
    trust: list[str] = MISSING
    view: Any = None  # None: the model's first
    sampling: Any = key(free=True)  # arguments of Model.set_sampling()
    runtime: Runtime = field(default_factory=Runtime)


def unused(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys that have no effect, with the reasons."""
    return dict(UNTRAINED)


def run(cfg: Any, folder: Path) -> dict[str, float]:
    """See sample()."""
    from gancli.verbs.sample.run import sample

    return sample(cfg)


VERB = Verb(name="sample", keys=Keys, run=run, unused=unused, checkpoint="ckpt", bare="ckpt", parallel=True)
