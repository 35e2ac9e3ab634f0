"""Whether what was read from a file has the structure that gancli writes: files may be damaged, or a stranger's."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class Real:
    """The shape of any number, nan and infinity among them."""


# What gancli writes into a run folder. Scores may be nan or infinite, so they are real numbers, not floats.
CONFIG = {"model": {"_target_": str}, "data": {"_target_": str}}  # of a run; what every one has
STATUS = {
    "verb?": str, "overrides?": [str], "choices?": {str: str}, "job?": (int, None), "swept?": [str], "version?": str,
    "state": str, "config?": str, "metrics?": {str: Real}, "seconds?": float, "error?": (str, None),
}  # fmt: skip
MACHINES = [{"device": str}]
CARD = {
    "values": {str: Real}, "spread?": {str: dict}, "floor?": {"images?": int, "values?": {str: Real}},
    "better?": {str: bool}, "images_seen?": (int, None), "protocol": dict,
}  # fmt: skip


def is_spread(key: str) -> bool:
    """Tell whether a measured value is the standard deviation or standard error of another one."""
    return key.endswith(("_std", "_se"))


class Misshapen(ValueError):
    """A value has another structure; the message says where, and what was expected."""


def check(value: Any, shape: Any, where: str = "") -> None:
    """Compare a value of plain types with a shape.

    Args:
        value: dicts, lists and scalars, such as those of a JSON file; tensors where the shape names their type.
        shape: a type (``float`` also takes a whole number, but neither nan nor infinity; ``object`` takes anything);
            None; a tuple of alternatives; ``[shape]``, a list of any length; ``{str: shape}``, a mapping with any keys;
            or ``{"key": shape, "other?": shape}``, one with these keys, the second of which may be missing. Further
            keys are allowed: later releases may write them.
        where: the name of the value in the message.

    Raises:
        Misshapen: the value does not match.
    """
    if isinstance(shape, tuple):
        if not any(matches(value, each) for each in shape):
            raise Misshapen(f"{where}: expected {_named(shape)}")
    elif isinstance(shape, list):
        _expect(isinstance(value, list), where, "a list")
        for index, each in enumerate(value):
            check(each, shape[0], f"{where}[{index}]")
    elif isinstance(shape, Mapping):
        _expect(isinstance(value, dict), where, "a mapping")
        _check_mapping(value, shape, where)
    elif shape is None or shape is bool:
        _expect(value is None if shape is None else isinstance(value, bool), where, _named(shape))
    elif shape in (float, Real):
        _expect(_is_number(value) or (shape is Real and isinstance(value, float)), where, "a number")
    else:
        _expect(isinstance(value, shape) and (shape is object or not isinstance(value, bool)), where, _named(shape))


def matches(value: Any, shape: Any) -> bool:
    """Tell whether a value has a shape, see check()."""
    try:
        check(value, shape)
    except Misshapen:
        return False
    return True


def read_json(path: Path, shape: Any) -> Any:
    """Return what a JSON file holds; None if it is missing, cannot be read, or holds something of another shape."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return value if matches(value, shape) else None


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a metrics.jsonl up to the first incomplete or foreign one; nothing if there is no such file."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            return
        if not matches(row, {"images": int}) or not matches(row, {str: Real}):
            return
        yield row


def _check_mapping(value: dict[Any, Any], shape: Mapping[Any, Any], where: str) -> None:
    if set(shape) == {str}:
        for key, each in value.items():
            _expect(isinstance(key, str), where, "a mapping of names")
            check(each, shape[str], f"{where}.{key}".lstrip("."))
        return
    for key, each in shape.items():
        name = key.removesuffix("?")
        if name in value:
            check(value[name], each, f"{where}.{name}".lstrip("."))
        else:
            _expect(name != key, where, f"the key {name}")


def _is_number(value: Any) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole or (isinstance(value, float) and math.isfinite(value))


def _expect(found: bool, where: str, what: str) -> None:
    if not found:
        raise Misshapen(f"{where or 'the file'}: expected {what}")


def _named(shape: Any) -> str:
    if isinstance(shape, tuple):
        return " or ".join(map(_named, shape))
    if isinstance(shape, list | Mapping):
        return "a list" if isinstance(shape, list) else "a mapping"
    names = {None: "null", int: "a whole number", str: "text", float: "a number", Real: "a number"}
    return names.get(shape) or f"a {shape.__name__}"
