"""gancli sample: its keys.

gancli sample ckpt=outputs/mnist-dcgan/... n=64 out=samples/
gancli sample ckpt=outputs/mnist-cdcgan/... label=3
"""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from gancli.verbs.base import MISSING, POSITIVE, SEED, TEMPERATURE, Runtime, Verb, key

Format = Enum("Format", ["png", "npz", "grid"])
Kind = Enum("Kind", ["grid", "interpolation"])


@dataclass
class Keys:
    """Root keys of ``gancli sample``."""

    ckpt: str = key(path=True)
    n: Any = key(POSITIVE, count=True)
    source: str | None = key(path=True)
    direction: str | None = MISSING
    out: str | None = key(path=True)
    seed: int = key(SEED)
    batch_size: int = key(POSITIVE)
    label: Any = MISSING  # a class's number or name
    format: Format = MISSING
    kind: Kind = MISSING
    temperature: float = key(TEMPERATURE)
    sampler: str | None = MISSING
    ema: bool = MISSING
    trust: list[str] = MISSING
    runtime: Runtime = field(default_factory=Runtime)


def run(cfg: Any, folder: Path) -> dict[str, float]:
    """See sample()."""
    from gancli.verbs.sample.run import sample

    return sample(cfg)


VERB = Verb(name="sample", summary="draw images from a checkpoint", keys=Keys, run=run, checkpoint="ckpt")
