"""gancli train: train a model, or draw a lecture's figure.

gancli train model=dcgan data=mnist
gancli train experiment=lecture/dirac_gan
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gancli.errors import UsageError
from gancli.verbs.base import (
    BATCH,
    MISSING,
    POSITIVE,
    RANKS,
    SEED,
    Range,
    Runtime,
    Split,
    Verb,
    between,
    key,
    processes,
)  # fmt: skip

PARTS = Range(lambda value: value == "auto" or (type(value) is int and value >= 1), "must be 1 or more, or auto")


@dataclass
class Checkpoint:
    """Keys of ``checkpoint``."""

    every: Any = key(POSITIVE, count=True)
    keep: int = key(POSITIVE)


@dataclass
class Samples:
    """Keys of ``samples``."""

    every: Any = key(count=True)
    n: int = key(POSITIVE)
    views: list[Any] | None = None


@dataclass
class Eval:
    """Keys of ``eval``."""

    every: Any = key(count=True)
    n: Any = key(POSITIVE, count=True)
    split: Split = MISSING
    metrics: list[str] = MISSING
    best: str = MISSING


@dataclass
class Doctor:
    """Keys of ``doctor``."""

    every: Any = key(count=True)


@dataclass
class Ema:
    """Keys of ``ema``."""

    half_life: Any = key(count=True, anneals=True)


@dataclass
class Log:
    """Keys of ``log``."""

    every: Any = key(POSITIVE, count=True)


@dataclass
class Keys:
    """Root keys of ``gancli train``."""

    seed: int = key(SEED)
    images: Any = key(POSITIVE, count=True)
    epochs: int | None = key(between(1, 1_000_000))
    batch_size: int = key(BATCH)
    accumulate: Any = key(PARTS)
    clip: float | None = key(Range(lambda value: value > 0, "must be above 0; clip=null turns clipping off"))
    resume: str | None = key(path=True)
    other_data: bool = False
    trust: list[str] = MISSING
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    samples: Samples = field(default_factory=Samples)
    eval: Eval = field(default_factory=Eval)
    doctor: Doctor = field(default_factory=Doctor)
    ema: Ema = field(default_factory=Ema)
    log: Log = field(default_factory=Log)
    runtime: Runtime = field(default_factory=Runtime)
    data: Any = MISSING
    features: Any = MISSING
    model: Any = MISSING
    loss: Any = MISSING
    optimizer: Any = MISSING
    schedule: Any = MISSING
    lecture: Any = None  # None: an ordinary run


def check(values: Mapping[str, Any]) -> None:
    """Refuse a batch that cannot be split into equal parts.

    Raises:
        UsageError: ``accumulate``, times the number of processes, does not divide ``batch_size``; see processes().
    """
    batch, accumulate = values["batch_size"], values["accumulate"]
    if accumulate != "auto" and batch % accumulate:
        raise UsageError(f"accumulate={accumulate} must divide batch_size={batch}; change one of them")
    ranks, accumulate = processes(values["runtime"]), 1 if accumulate == "auto" else accumulate
    if batch % (ranks * accumulate):
        parts = f"{ranks} processes" + (f" with accumulate={accumulate} parts each" if accumulate > 1 else "")
        raise UsageError(
            f"batch_size={batch} must be a multiple of {ranks * accumulate}, to be shared among {parts}; for example "
            f"batch_size={-(-batch // (ranks * accumulate)) * ranks * accumulate}"
        )


def unused(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys that have no effect beside the others, with the reasons."""
    found: dict[str, str] = {}
    if values["lecture"] is not None:
        alone = (
            "resume",
            "other_data",
            "epochs",
            "accumulate",
            "clip",
            "checkpoint",
            "samples",
            "eval",
            "doctor",
            "log",
            *(f"runtime.{name}" for name in RANKS),
        )
        found |= dict.fromkeys(alone, "a lecture draws one figure and does not use it; omit it")
    if values["resume"]:
        found["seed"] = "a resumed run goes on with the random numbers of its checkpoint; omit it, or omit resume="
    elif values["lecture"] is None:
        found["other_data"] = "it says that resume= may change the training images; omit it, or add resume="
    if values["epochs"] is not None:
        found["images"] = f"epochs={values['epochs']} takes precedence; omit one of them, or add epochs=null"
    return found


def train(cfg: Any, folder: Path) -> dict[str, float]:
    """Train the model of ``cfg``, or draw the figure of its lecture, and return the last losses and scores.

    Raises:
        UsageError, TrainingDiverged, Interrupted: see training.loop.train() and lectures.base.run_lecture().
    """
    if cfg.lecture is not None:
        from gancli.lectures.base import run_lecture  # imports matplotlib, which would double the start-up time

        return run_lecture(cfg, folder)
    from gancli.training import loop

    return loop.train(cfg, folder)


VERB = Verb(
    name="train",
    keys=Keys,
    run=train,
    check=check,
    unused=unused,
    checkpoint="resume",
    makes_runs=True,
    parallel=True,
)
