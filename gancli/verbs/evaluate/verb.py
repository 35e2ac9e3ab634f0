"""The keys and rules of gancli eval.

gancli eval outputs/mnist-dcgan/...
gancli eval latest 'outputs/sweep/*' which=best
gancli eval ckpt=latest 'truncation=[1,0.8,0.6]'
gancli eval images=pictures.zip data=mnist
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from gancli.errors import UsageError
from gancli.verbs.base import BATCH, MISSING, POSITIVE, SEED, UNTRAINED, Range, Runtime, Split, Verb, between, key

Which = Enum("Which", ["last", "best", "all"])


@dataclass
class Keys:
    """Root keys of ``gancli eval``."""

    ckpt: str | None = key(path=True)  # of several, each is scored on its own
    which: Which = MISSING
    images: str | None = key(path=True)
    n: Any = key(POSITIVE, count=True)
    split: Split = MISSING
    metrics: list[str] = MISSING
    floor: bool = MISSING
    reference: str | None = key(path=True)
    save_reference: str | None = key(path=True)
    seed: int = key(SEED)
    repeats: int = key(between(1, 1000))
    bootstrap: int = key(
        Range(lambda value: value == 0 or 2 <= value <= 10**6, "must be from 2 to 1,000,000, or 0 for none")
    )
    batch_size: int | None = key(BATCH)
    ema: bool = MISSING
    again: bool = MISSING
    sampling: Any = key(free=True)  # arguments of Model.set_sampling(), one of which may be a list
    trust: list[str] = MISSING
    runtime: Runtime = field(default_factory=Runtime)
    data: Any = None  # None: the checkpoint's own
    features: Any = None


def check(values: Mapping[str, Any]) -> None:
    """Check the choice of what is scored.

    Raises:
        UsageError: neither or both of ckpt and images are given, or not what else they need.
    """
    ckpt, images = values["ckpt"], values["images"]
    if not ckpt and not images:
        raise UsageError("ckpt is missing; add ckpt=... (a run or a checkpoint) or images=... (a folder, zip or npz)")
    if ckpt and images:
        raise UsageError(f"ckpt={ckpt} and images={images}: score one of them at a time")
    lists = [name for name, value in values["sampling"].items() if isinstance(value, list)]
    if len(lists) > 1:
        raise UsageError(f"{' and '.join(lists)} are lists: a curve has one axis; give the others one value")
    if lists and values["which"] == "all":
        raise UsageError(f"which=all and several values of {lists[0]}: draw one curve at a time")
    if lists and not values["sampling"][lists[0]]:
        raise UsageError(f"{lists[0]}=[] is empty; name one or more values")
    if images and not values.get("data"):
        raise UsageError(f"images={images} must be scored against real images; name the data, such as data=mnist")
    if values["save_reference"] and "fid" not in values["metrics"]:
        raise UsageError("save_reference=... saves the statistics that FID needs; add fid to metrics")


def unused(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys that have no effect beside the others, with the reasons."""
    if values["images"]:
        reason = "it applies to checkpoints, not to images=...; omit it"
        return dict.fromkeys(("which", "repeats", "ema", "sampling"), reason) | UNTRAINED
    return UNTRAINED | {"bootstrap": "it applies to images=...; a checkpoint draws new images for each of repeats=3"}


def inherited(saved: Mapping[str, Any], typed: Callable[[str], bool]) -> dict[str, Any]:
    """Return a run's data, features and metrics: it is scored as in training unless other data is named."""
    if typed("data"):
        return {}
    groups = ["data"] if typed("features") else ["data", "features"]
    metrics = {"metrics": saved["eval"]["metrics"]} if "eval" in saved else {}
    return {group: saved[group] for group in groups if group in saved} | metrics


def run(cfg: Any, folder: Path) -> dict[str, float]:
    """See evaluate()."""
    from gancli.verbs.evaluate.run import evaluate

    return evaluate(cfg)


VERB = Verb(
    name="eval",
    keys=Keys,
    run=run,
    check=check,
    unused=unused,
    checkpoint="ckpt",
    inherited=inherited,
    bare="ckpt",
    parallel=True,
)
