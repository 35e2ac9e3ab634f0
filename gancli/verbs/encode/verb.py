"""The keys of gancli encode.

gancli encode ckpt=latest images=faces/ out=latents.npz
gancli encode ckpt=latest split=train
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gancli.errors import UsageError
from gancli.verbs.base import BATCH, MISSING, Runtime, Split, Verb, key


@dataclass
class Keys:
    """Root keys of ``gancli encode``."""

    ckpt: str = key(path=True)
    images: str | None = key(path=True)
    out: str | None = key(path=True)
    split: Split = MISSING
    label: Any = MISSING  # a class's number or name
    batch_size: int = key(BATCH)
    ema: bool = MISSING
    trust: list[str] = MISSING
    runtime: Runtime = field(default_factory=Runtime)


def check(values: Mapping[str, Any]) -> None:
    """Refuse a file of another kind. Raises UsageError."""
    if values["out"] is not None and not values["out"].endswith(".npz"):
        raise UsageError(f"out={values['out']}: an npz file is written; give it a name such as latents.npz")


def unused(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys that have no effect beside the others, with the reasons."""
    if values["images"] is None:
        return {}
    return {"split": "it is one of the run's data, and images= names other pictures; omit it"}


def run(cfg: Any, folder: Path) -> dict[str, float]:
    """See encode()."""
    from gancli.verbs.encode.run import encode

    return encode(cfg)


VERB = Verb(name="encode", keys=Keys, run=run, check=check, unused=unused, checkpoint="ckpt")
