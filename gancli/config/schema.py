"""The root keys of each verb with their types, and the rules their values obey; conf/<verb>.yaml holds the values."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from gancli.errors import UsageError

MISSING: Any = "???"  # OmegaConf's mark of a value that must come from a yaml or the command line

Device = Enum("Device", ["auto", "cpu", "cuda"])
Precision = Enum("Precision", ["fp32", "bf16"])
Format = Enum("Format", ["png", "npz", "grid"])
Kind = Enum("Kind", ["grid", "interpolation"])
Split = Enum("Split", ["train", "validation", "test"])
Which = Enum("Which", ["last", "all"])
Protocols = Enum("Protocols", ["same", "mixed"])


@dataclass
class Runtime:
    device: Device = MISSING
    precision: Precision = MISSING
    channels_last: bool = MISSING
    compile: bool = MISSING
    deterministic: bool = MISSING
    threads: int | None = MISSING


@dataclass
class Checkpoint:
    every: Any = MISSING  # counts of images are Any here: parse_count reads 200k and 2M
    keep: int = MISSING


@dataclass
class Samples:
    every: Any = MISSING
    n: int = MISSING
    completion: str | None = None  # runs of before it was a key have none


@dataclass
class Eval:
    every: Any = MISSING
    n: Any = MISSING
    split: Split = MISSING
    metrics: list[str] = MISSING
    best: str = MISSING


@dataclass
class Doctor:
    every: Any = MISSING


@dataclass
class Ema:
    half_life: Any = MISSING


@dataclass
class Log:
    every: Any = MISSING


@dataclass
class TrainVerb:
    seed: int = MISSING
    images: Any = MISSING
    epochs: int | None = MISSING
    batch_size: int = MISSING
    accumulate: int = MISSING
    clip: float | None = MISSING
    resume: str | None = MISSING
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


@dataclass
class EvalVerb:
    ckpt: str | None = MISSING
    which: Which = MISSING
    images: str | None = MISSING  # a path: see holder_of
    n: Any = MISSING
    split: Split = MISSING
    metrics: list[str] = MISSING
    floor: bool = MISSING
    reference: str | None = MISSING
    save_reference: str | None = MISSING
    seed: int = MISSING
    repeats: int = MISSING
    bootstrap: int = MISSING
    batch_size: int | None = MISSING
    ema: bool = MISSING
    trust: list[str] = MISSING
    runtime: Runtime = field(default_factory=Runtime)
    data: Any = None  # None: the checkpoint's own
    features: Any = None


@dataclass
class SampleVerb:
    ckpt: str = MISSING
    n: Any = MISSING
    source: str | None = MISSING
    direction: str | None = MISSING
    out: str | None = MISSING
    seed: int = MISSING
    batch_size: int = MISSING
    label: Any = MISSING  # a class's number or name
    format: Format = MISSING
    kind: Kind = MISSING
    temperature: float = MISSING
    sampler: str | None = MISSING
    ema: bool = MISSING
    trust: list[str] = MISSING
    runtime: Runtime = field(default_factory=Runtime)


@dataclass
class ReportVerb:
    runs: Any = MISSING  # a path or a list of them
    out: str | None = MISSING
    metrics: list[str] | None = MISSING
    split: Split = MISSING
    best: str | None = MISSING
    protocols: Protocols = MISSING
    only: Any = MISSING


@dataclass
class DoctorVerb:
    runs: Any = MISSING  # a path or a list of them


@dataclass
class CompleteVerb:
    ckpt: str = MISSING
    image: Any = MISSING  # a path, a number or numbers
    mask: str = MISSING
    n: Any = MISSING
    out: str | None = MISSING
    split: Split = MISSING
    label: Any = MISSING  # a class's number or name
    seed: int = MISSING
    batch_size: int = MISSING
    temperature: float = MISSING
    sampler: str | None = MISSING
    ema: bool = MISSING
    trust: list[str] = MISSING
    runtime: Runtime = field(default_factory=Runtime)


VERBS: dict[str, type] = {
    "train": TrainVerb,
    "eval": EvalVerb,
    "sample": SampleVerb,
    "complete": CompleteVerb,
    "report": ReportVerb,
    "doctor": DoctorVerb,
}

HYDRA_KEYS = ("_target_", "_partial_", "_recursive_")  # of any node, with Hydra's meaning
# Keys of a group's node that the program takes itself: not arguments of the target.
LOADER = "gancli.data.loader.Loader"
LOADER_KEYS = ("flip", "resident", "workers")
LEVELS = "gancli.data.levels.Quantised"
LEVELS_KEYS = ("bits", "binarise", "dequantise")
OWN_KEYS = {"data": (*LOADER_KEYS, *LEVELS_KEYS), "optimizer": ("overrides",)}
# Arguments that the program gives, so that no yaml does.
SUPPLIED = {"model": ("spec",), "optimizer": ("params",)}

_SUFFIXES = {"k": 10**3, "M": 10**6, "G": 10**9}


def parse_count(value: int | float | str) -> int:
    """Return a number of images: 60000, 1e6, 200k, 1.5M.

    Raises:
        UsageError: no number, not whole, or negative.
    """
    text = str(value).replace("_", "")
    factor = _SUFFIXES.get(text[-1:], 1)
    try:
        number = float(text if factor == 1 else text[:-1]) * factor
    except ValueError:
        number = -1.0
    whole = round(number) if 0 <= number < 2**62 else -1  # 2.3M * 10**6 is not whole in floating point
    if isinstance(value, bool) or whole < 0 or abs(number - whole) > 1e-6 * max(1.0, number):
        raise UsageError(f"expected a number of images such as 60000, 200k, 2M or 1e6, got {value!r}")
    return whole


COUNTS = (
    "images", "checkpoint.every", "samples.every", "eval.every", "eval.n", "doctor.every", "ema.half_life", "log.every",
    "n",
)  # fmt: skip


def holder_of(values: dict[str, Any], key: str) -> tuple[dict[str, Any], str]:
    """Return the mapping that holds a dotted key, an empty one where this verb has none, and the key's last part."""
    if key == "images" and "which" in values:
        return {}, key  # of eval: pictures to score, no number
    parent, _, leaf = key.rpartition(".")
    holder = values.get(parent) if parent else values
    return (holder if isinstance(holder, dict) else {}), leaf


def _one_or_more(value: Any) -> bool:
    return value >= 1


# (key, what is right, what to say): each is looked at where the verb has the key and it is not null.
_COUNTED = ("images", "epochs", "batch_size", "accumulate", "n", "eval.n", "samples.n", "runtime.threads", "log.every")
RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    *(
        (key, _one_or_more, "must be 1 or more")
        for key in (*_COUNTED, "checkpoint.every", "checkpoint.keep", "repeats")
    ),
    ("temperature", lambda v: v > 0, "must be above 0; 1 draws as the model says"),
    ("bootstrap", lambda v: v == 0 or v >= 2, "must be 2 or more, or 0 for none"),
    ("clip", lambda v: v > 0, "must be above 0; clip=null turns clipping off"),
    ("seed", lambda v: 0 <= v < 2**63, "must be from 0 to 2**63 - 1"),
)


def check_ranges(values: dict[str, Any]) -> None:
    """Check the values of the root keys.

    Raises:
        UsageError: naming the key, its value and what is allowed.
    """

    def get(key: str) -> Any:
        holder, leaf = holder_of(values, key)
        return holder.get(leaf)

    for key, right, text in RULES:
        value = get(key)
        if value is not None and not right(value):
            raise UsageError(f"{key}={value}: {text}")
    _check_eval(values)
    batch, accumulate = get("batch_size"), get("accumulate")
    if accumulate and batch % accumulate:
        raise UsageError(f"accumulate={accumulate} must divide batch_size={batch} into equal parts; change one of them")


def _check_eval(values: dict[str, Any]) -> None:
    """Check what eval is to score."""
    if "which" not in values:
        return
    ckpt, images = values.get("ckpt"), values.get("images")
    if not ckpt and not images:
        raise UsageError("ckpt is missing: type ckpt=... (a run or a checkpoint) or images=... (a folder, zip or npz)")
    if ckpt and images:
        raise UsageError(f"ckpt={ckpt} and images={images}: score one of them at a time")
    if images and not values.get("data"):
        raise UsageError(f"images={images}: name the data to score them against, such as data=mnist")
    if images and (values["which"] == "all" or values["repeats"] > 1):
        raise UsageError("images=...: which=all and repeats are for checkpoints; leave them away")
    if values.get("save_reference") and "fid" not in values["metrics"]:
        raise UsageError("save_reference=... saves what FID needs: add fid to metrics")
