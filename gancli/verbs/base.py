"""What a verb of the command line declares about itself: its keys with their ranges, its rules, and what it runs.

A verb is one file or folder of this package, with a ``VERB`` that ``gancli.verbs.VERBS`` lists, and
``conf/<name>.yaml``, which holds the values of its keys and explains them. Declarations import nothing heavy: the
help of the program reads them all.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

MISSING: Any = "???"  # OmegaConf's mark of a value that must come from a yaml or the command line

Device = Enum("Device", ["auto", "cpu", "cuda"])
Precision = Enum("Precision", ["fp32", "bf16"])
Split = Enum("Split", ["train", "validation", "test"])


class Range(NamedTuple):
    """The values that a key may have; null is not among those looked at.

    Args:
        allows: whether a value is in the range.
        text: what to tell the user of one that is not: ``must be 1 or more``.
    """

    allows: Callable[[Any], bool]
    text: str


POSITIVE = Range(lambda value: value >= 1, "must be 1 or more")
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
    """Declare a key of a verb, where a type and a default value alone do not say enough.

    Args:
        range: the values that are allowed.
        default: the value where neither a yaml nor the command line gives one.
        count: a number of images; 200k and 2M are allowed. The type of such a key is Any.
        path: a path, which may hold characters that are special to Hydra.
        free: a mapping whose own keys may have any name. The type of such a key is Any.
        anneals: may change over the run, as ``{from: 1k, to: 10k}``. The type of such a key is Any.
    """
    return field(
        default=default, metadata={"range": range, "count": count, "path": path, "free": free, "anneals": anneals}
    )


@dataclass
class Runtime:
    """Keys of ``runtime``."""

    device: Device = MISSING
    precision: Precision = MISSING
    channels_last: bool = MISSING
    compile: bool = MISSING
    deterministic: bool = MISSING
    threads: int | None = key(POSITIVE)
    unpack_gib: float = key(Range(lambda value: 0 < value <= 2**20, "must be above 0, in GiB"), 2.0)


def _accept(values: Mapping[str, Any]) -> None:
    """Accept every combination."""


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One command: ``gancli <name> key=value ...``.

    Args:
        name: what is typed, and the name of the yaml in conf/ that holds the values of the keys.
        summary: one line for ``gancli --help``.
        keys: a dataclass of the root keys with their types; key() adds ranges.
        run: does the work, given the checked config and the folder of the job, and returns values by name.
        check: raises a UsageError for values that do not go together; it gets the plain values, each in its range.
        bare: the key whose values may be typed as words of their own: ``gancli report A B``.
        checkpoint: the key that names a checkpoint or run whose own config is read before the command line.
        inherited: the values that the config of the checkpoint gives; arguments are that config and a function that
            tells whether a key is typed.
        makes_runs: whether the job's folder is a run, with a status.json; ``checkpoint`` then names one to go on with.
    """

    name: str
    summary: str
    keys: type[Any]
    run: Callable[[Any, Path], dict[str, float]]
    check: Callable[[Mapping[str, Any]], None] = _accept
    bare: str | None = None
    checkpoint: str | None = None
    inherited: Callable[[Mapping[str, Any], Callable[[str], bool]], dict[str, Any]] | None = None
    makes_runs: bool = False

    def paths(self) -> list[str]:
        """Return the keys that are paths, dotted where they lie deeper."""
        return [name for name, each in leaves(self.keys) if each.metadata.get("path")]


def leaves(keys: type[Any], prefix: str = "") -> Iterator[tuple[str, "Field[Any]"]]:
    """Yield the keys of a dataclass by their dotted names, those of the dataclasses in it too."""
    for each in fields(keys):
        if isinstance(each.type, type) and hasattr(each.type, "__dataclass_fields__"):
            yield from leaves(each.type, f"{prefix}{each.name}.")
        else:
            yield prefix + each.name, each
