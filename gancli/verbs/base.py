"""The declaration of a verb of the command line: its keys with their ranges, its rules, and the function it runs.

A verb is one file or folder of this package with a ``VERB``, which ``gancli.verbs`` lists, and a ``conf/<name>.yaml``,
which holds the values of its keys and explains them. Declarations must not import anything heavy, because they are read
before Hydra is there.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from gancli.errors import UsageError

MISSING: Any = "???"  # OmegaConf's marker for a value that a yaml or the command line must provide

Device = Enum("Device", ["auto", "cpu", "cuda"])
Precision = Enum("Precision", ["auto", "fp32", "bf16"])
Tf32 = Enum("Tf32", ["convolutions", "all", "none"])
Split = Enum("Split", ["train", "validation", "test"])


class Range(NamedTuple):
    """The values that a key may have; null is never checked.

    Args:
        allows: tells whether a value is in the range.
        text: the message for a value outside the range: ``must be 1 or more``.
    """

    allows: Callable[[Any], bool]
    text: str


def between(low: int, high: int) -> Range:
    """Return the range of numbers from ``low`` to ``high``, both included."""
    return Range(lambda value: low <= value <= high, f"must be from {low:,} to {high:,}")


POSITIVE = Range(lambda value: value >= 1, "must be 1 or more")
BATCH = between(1, 2**20)  # images at a time
SWITCH = Range(lambda value: value in (True, False, "auto", "gpu"), "must be auto, gpu, true or false")
SEED = Range(lambda value: 0 <= value < 2**63, "must be from 0 to 2**63 - 1")


def key(
    range: Range | None = None,
    default: Any = MISSING,
    *,
    count: bool = False,
    path: bool = False,
    free: bool = False,
    anneals: bool = False,
) -> Any:
    """Declare a key of a verb that needs more than a type and a default value.

    Args:
        range: the allowed values; any number must be finite, and 0 or more.
        default: the value if neither a yaml nor the command line gives one.
        count: the key is a number of images; 200k and 2M are allowed. Its type is Any.
        path: the key is a path, which may contain characters that are special to Hydra.
        free: the key is a mapping whose own keys may have any name. Its type is Any.
        anneals: the value may change over the run, as in ``{from: 1k, to: 10k}``. The key's type is Any.
    """
    return field(
        default=default, metadata={"range": range, "count": count, "path": path, "free": free, "anneals": anneals}
    )


@dataclass
class Runtime:
    """Keys of ``runtime``."""

    device: Device = MISSING
    precision: Precision = MISSING
    channels_last: Any = key(SWITCH)
    compile: bool = MISSING
    graphs: bool = False
    deterministic: bool = MISSING
    threads: int | None = key(between(1, 1024))
    tf32: Tf32 = Tf32.convolutions
    processes: int = key(between(1, 1024), 1)
    gpus: int | None = key(between(1, 1024), None)
    sync_bn: bool = False
    unpack_gib: float = key(Range(lambda value: 0 < value <= 2**20, "must be above 0, in GiB"), 2.0)


RANKS = ("processes", "gpus", "sync_bn")  # of runtime: what belongs to several processes
ALONE = "only gancli train, eval and sample run in several processes, and all others in one; omit it"
UNTRAINED = {"runtime.sync_bn": "batch norm uses the statistics of the training here; omit it"}


def processes(runtime: Mapping[str, Any]) -> int:
    """Return how many processes the ``runtime`` group asks for.

    Raises:
        UsageError: its keys contradict each other.
    """
    number, gpus = runtime["processes"], runtime["gpus"]
    if gpus is None:
        return number
    if runtime["device"] == "cpu":
        raise UsageError(
            f"runtime.gpus={gpus}, but runtime.device=cpu; use runtime.processes={gpus}, which share the cores, or "
            "runtime=auto"
        )
    if number not in (1, gpus):
        raise UsageError(f"runtime.gpus={gpus} and runtime.processes={number}: there is a process for each; omit one")
    return gpus


def _accept(values: Mapping[str, Any]) -> None:
    """Accept every combination."""


def _all_used(values: Mapping[str, Any]) -> dict[str, str]:
    """Every key is used."""
    return {}


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One command: ``gancli <name> key=value ...``.

    Args:
        name: the verb's name on the command line, and that of the yaml in conf/ with the values of its keys.
        keys: a dataclass of the root keys with their types; key() adds ranges.
        run: does the work, given the checked config and the folder of the job, and returns values by name.
        check: raises a UsageError for incompatible values; it gets plain values, each within its range.
        unused: returns the keys that the command does not use with these values, each with the reason; a key there
            stands for those below it, too. They are refused where they are typed.
        bare: the key whose values may be given without the key: ``gancli report A B``.
        checkpoint: the key that names a checkpoint or run whose own config provides defaults.
        inherited: returns the values that the checkpoint's config provides, given that config and a function that tells
            whether a key is set on the command line.
        makes_runs: whether the job's folder is a run with a status.json; ``checkpoint`` then names a run to resume.
        parallel: whether it can run in several processes, see training/ranks.py.
        extends: the verb whose keys this one's dataclass inherits; the yaml of that verb gives them their values.
        searches: whether it runs the verb that it extends again and again, as the jobs of a sweep whose values are
            found on the way; ``run`` then tells the end, given the folder of the sweep.
    """

    name: str
    keys: type[Any]
    run: Callable[[Any, Path], dict[str, float]]
    check: Callable[[Mapping[str, Any]], None] = _accept
    unused: Callable[[Mapping[str, Any]], dict[str, str]] = _all_used
    parallel: bool = False
    bare: str | None = None
    checkpoint: str | None = None
    inherited: Callable[[Mapping[str, Any], Callable[[str], bool]], dict[str, Any]] | None = None
    makes_runs: bool = False
    extends: str | None = None
    searches: bool = False

    @property
    def several(self) -> bool:
        """Whether it takes several checkpoints: as bare words, a list, the folder of a sweep, or a glob."""
        return self.checkpoint is not None and self.checkpoint == self.bare

    def without_effect(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Return the keys that the command does not use with these values, see ``unused``; those of processes, too."""
        alone = {} if self.parallel else dict.fromkeys((f"runtime.{name}" for name in RANKS), ALONE)
        return {**self.unused(values), **alone}

    def paths(self) -> list[str]:
        """Return the keys that are paths, by their dotted names."""
        return [name for name, each in leaves(self.keys) if each.metadata.get("path")]


def leaves(keys: type[Any], prefix: str = "") -> Iterator[tuple[str, "Field[Any]"]]:
    """Yield the keys of a dataclass and of those nested in it, by their dotted names."""
    for each in fields(keys):
        if isinstance(each.type, type) and hasattr(each.type, "__dataclass_fields__"):
            yield from leaves(each.type, f"{prefix}{each.name}.")
        else:
            yield prefix + each.name, each
