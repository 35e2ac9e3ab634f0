"""Checking plain config values against type annotations, which are read as syntax so that nothing is imported.

They have no aliases: modules.expanded() has replaced them.
"""

import ast
import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_PLAIN = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,), "None": (type(None),), "Path": (str,)}
_LISTS = ("list", "List", "Sequence", "Iterable", "Collection", "set", "frozenset")
_DICTS = ("dict", "Dict", "Mapping", "MutableMapping")
_ANNEALED = {"from", "to"}, {"from", "to", "shape", "start", "until"}  # required keys, and all keys
_COMPARED = {
    ">=": (operator.ge, "{} or more"),
    ">": (operator.gt, "above {}"),
    "<=": (operator.le, "at most {}"),
    "<": (operator.lt, "below {}"),
}
_WIDEST = 2**63 - 1  # what torch and files can hold
_OBJECTS = ("Tensor", "Module", "Generator", "device", "dtype")  # types that a yaml cannot express


def fits(value: Any, annotation: ast.expr | None) -> bool:
    """Tell whether a value of plain types, lists and dicts fits an annotation.

    An unknown name (of a class) accepts every value, since only the constructor can tell.
    """
    verdicts = [_fits(value, part) for part in _parts(annotation)]
    return any(verdicts) or all(v is None for v in verdicts)


def floated(value: Any, annotation: ast.expr | None) -> Any:
    """Return a value that fits the annotation with a float for every int that stands where only a float is meant.

    Some constructors insist on it: torch.optim.Adam refuses ``betas=(0, 0.9)``.

    Raises:
        OverflowError: an int beyond the range of floats.
    """
    every = _parts(annotation)
    parts = [part for part in every if _fits(value, part)] or every  # a list with numbers that change fits none
    names = {_name(part) for part in parts}
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value) if names == {"float"} else value
    if is_annealed(value) and "float" in {_name(part) for part in every}:
        return {key: float(each) if key in _ANNEALED[0] else each for key, each in value.items()}
    inside = next((part for part in parts if isinstance(part, ast.Subscript) and _name(part) != "Literal"), None)
    if inside is None:
        return value
    kinds = [None if _is_ellipsis(each) else each for each in _elements(inside)]
    if isinstance(value, Mapping):
        return {key: floated(each, kinds[-1]) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        fixed = _name(inside) not in _LISTS and None not in kinds  # tuple[int, float], not tuple[float, ...]
        return [floated(each, kinds[i if fixed else 0]) for i, each in enumerate(value)]
    return value


def describe(annotation: ast.expr | None) -> str:
    """Return the source text of the part of an annotation that a yaml can express: ``float | None``."""
    parts = [p for p in _parts(annotation) if _understood(p)]
    return " | ".join("{from: a, to: b, ...}" if _name(p) == "Annealed" else ast.unparse(p) for p in parts)


def anneals(annotation: ast.expr | None) -> bool:
    """Tell whether the annotation allows a number that changes over the run, ``float | Annealed``."""
    return any(_name(part) == "Annealed" for part in _parts(annotation))


def is_annealed(value: Any) -> bool:
    """Tell whether a value has the form of a number that changes: ``{from: 1, to: 0.1, shape: cosine, until: 0.2}``."""
    needed, known = _ANNEALED
    if not isinstance(value, Mapping) or not needed <= set(value) <= known:
        return False
    numbers = [v for key, v in value.items() if key != "shape"]
    return all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in numbers)


def out_of_range(value: Any, annotation: ast.expr | None, default: tuple[str, ...] = ()) -> str | None:
    """Return what a number, or one inside a list or mapping, must be; None if all of them are in their ranges.

    Args:
        value: a value that fits the annotation.
        annotation: it has ranges as ``Annotated[int, ">= 1", "< 9"]``.
        default: the range where it has none: ``(">= 0",)``.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        limits = [own or default for part, own in _limited(annotation) if _name(part) in ("int", "float")]
        verdicts = [beyond(value, each) for each in limits or [()]]
        return None if None in verdicts else verdicts[0]
    if is_annealed(value):
        inner = [(value[key], annotation) for key in ("from", "to")]
    elif isinstance(value, (Mapping, list, tuple)):
        inner = [pair for part in _parts(annotation) for pair in _inside(value, part)]
    else:
        inner = []
    return next(filter(None, (out_of_range(*pair, default) for pair in inner)), None)


def beyond(number: float, limits: Sequence[str]) -> str | None:
    """Return what a number must be, ``must be 1 or more and below 9``, if it is not; every number must be finite."""
    if isinstance(number, float) and not math.isfinite(number):
        return "must be a finite number"
    if abs(number) > _WIDEST:
        return "is too large"
    words = [limit.partition(" ") for limit in limits if " " in limit]  # the others, such as "signed", limit nothing
    if all(_COMPARED[sign][0](number, float(bound)) for sign, _, bound in words):
        return None
    return "must be " + " and ".join(_COMPARED[sign][1].format(bound) for sign, _, bound in words)


def takes_only(annotation: ast.expr | None, name: str) -> bool:
    """Tell whether ``name`` is the only type in the annotation apart from None."""
    return {_name(p) for p in _parts(annotation)} - {"None"} == {name}


def _parts(node: ast.expr | None) -> list[ast.expr]:
    """Split a union into its members."""
    return [part for part, _ in _limited(node)]


def _limited(node: ast.expr | None, limits: tuple[str, ...] = ()) -> Iterator[tuple[ast.expr, tuple[str, ...]]]:
    """Yield the members of a union, each with its range."""
    if node is None:
        return
    inner: list[ast.expr] = []
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        inner = [ast.parse(node.value, mode="eval").body]
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        inner = [node.left, node.right]
    elif isinstance(node, ast.Subscript) and _name(node) == "Union":
        inner = _elements(node)
    elif isinstance(node, ast.Subscript) and _name(node) == "Optional":
        inner = [node.slice, ast.Constant(None)]
    elif isinstance(node, ast.Subscript) and _name(node) in ("Annotated", "Final"):
        first, *notes = _elements(node)
        inner = [first]
        limits = tuple(str(each.value) for each in notes if isinstance(each, ast.Constant)) or limits
    else:
        yield node, limits
    for each in inner:
        yield from _limited(each, limits)


def _inside(value: Any, part: ast.expr) -> list[tuple[Any, ast.expr]]:
    """Return what is inside a list or mapping, each with its annotation; nothing if the annotation does not say."""
    elements = _elements(part) if isinstance(part, ast.Subscript) else []
    if isinstance(value, Mapping):
        return [(each, elements[1]) for each in value.values()] if _name(part) in _DICTS and len(elements) == 2 else []
    if not elements or _name(part) not in (*_LISTS, "tuple", "Tuple"):
        return []
    if _name(part) in _LISTS or _is_ellipsis(elements[-1]):
        return [(each, elements[0]) for each in value]
    return list(zip(value, elements))


def _name(node: ast.expr) -> str:
    """Return the last part of a type's name: ``Sequence`` for ``collections.abc.Sequence[int]``."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.Subscript):
        return _name(node.value)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _elements(node: ast.Subscript) -> list[ast.expr]:
    return list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]


def _understood(part: ast.expr) -> bool:
    return _name(part) in (*_PLAIN, *_LISTS, *_DICTS, "Literal", "tuple", "Tuple", "Annealed")


def _fits(value: Any, part: ast.expr) -> bool | None:
    """Check a value against one member of a union; None if the member is a type that no plain value can have."""
    name = _name(part)
    if not _understood(part):
        return None if name in _OBJECTS else True
    if name in _PLAIN:
        if isinstance(value, bool):  # a bool is an int in Python but not in yaml
            return name == "bool"
        return isinstance(value, _PLAIN[name])
    if name == "Annealed":
        return is_annealed(value)
    elements = _elements(part) if isinstance(part, ast.Subscript) else []
    if name == "Literal":
        return any(_literal(e) == (type(value), value) for e in elements)
    if not isinstance(value, Mapping if name in _DICTS else (list, tuple)):
        return False
    fixed = name in ("tuple", "Tuple") and elements and not _is_ellipsis(elements[-1])
    return (not fixed or len(value) == len(elements)) and all(fits(*each) for each in _inside(value, part))


def _literal(node: ast.expr) -> tuple[type, Any] | None:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return None
    return type(value), value


def _is_ellipsis(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is Ellipsis
