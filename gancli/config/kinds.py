"""What kind of object a target may be: the classes that an annotation names, and those derived from them.

Read from the source, as signatures are, so that nothing is imported before it is known to be of the right kind.
"""

import ast
from collections.abc import Sequence
from contextlib import suppress
from functools import cache

from gancli.config import targets
from gancli.config.modules import Module, NotFound, resolve
from gancli.config.targets import Parameter
from gancli.errors import UsageError

Found = tuple[Module, ast.ClassDef]


def named(parameter: Parameter | None, trust: Sequence[str] = ()) -> list[str]:
    """Return the classes of trusted packages that a parameter's annotation names, dotted.

    ``dict[str, Regularizer] | None`` and ``Callable[..., Likelihood]`` name one each, ``Any`` and ``int`` none.
    """
    names = _dotted(parameter) if parameter else ()
    return [name for name in names if targets.is_trusted(name.rpartition(".")[0], trust)]


@cache  # as the syntax trees are
def _dotted(parameter: Parameter) -> tuple[str, ...]:
    found = (_class_of(parameter.module, each) for each in _names(parameter.annotation))
    return tuple(f"{where.name}.{node.name}" for where, node in filter(None, found))


def check(target: str, allowed: Sequence[str]) -> None:
    """Refuse a target that is none of the allowed classes and derives from none of them.

    Of a class whose bases are computed when its module runs the source does not tell; one of a package that the user
    trusts is let through, to be looked at after its import.

    Raises:
        UsageError: it is of no allowed kind, or does not exist.
    """
    kinds = [targets.find(each)[1] for each in allowed]
    if kinds and _derives(targets.find(target), kinds, own=not targets.is_trusted(target, ())):
        return
    names = " or ".join(each.rpartition(".")[2] for each in allowed)
    why = f"it is not a subclass of {names}" if names else "nothing is to be built here"
    raise UsageError(f"_target_={target} is refused: {why}")


def check_complete(target: str, found: type) -> None:
    """Refuse a class that does not define what its bases ask for: abstract methods, and attributes without a value.

    Raises:
        UsageError: something is missing; the message names it and the base.
    """
    for base in found.__mro__:
        declared = [name for name, each in vars(base).get("__annotations__", {}).items() if "ClassVar" in str(each)]
        lacking = [name for name in declared if not hasattr(found, name)]
        lacking += [name for name in vars(base) if name in getattr(found, "__abstractmethods__", ())]
        if lacking:
            raise UsageError(
                f"_target_={target} is unfinished: {base.__name__} asks its subclasses for {', '.join(lacking)}"
            )


def _names(annotation: ast.expr | None) -> list[ast.expr]:
    """Return the names in an annotation, in quotes or not."""
    if annotation is None:
        return []
    found: list[ast.expr] = []
    for node in ast.walk(annotation):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            with suppress(SyntaxError):  # a word of a Literal
                found += _names(ast.parse(node.value, mode="eval").body)
        elif isinstance(node, (ast.Name, ast.Attribute)):
            found.append(node)
    return found


@cache
def _class_of(module: Module, name: ast.expr) -> Found | None:
    try:
        where, node = resolve(module, name)
    except NotFound:  # a builtin
        return None
    return (where, node) if isinstance(node, ast.ClassDef) else None


def _derives(found: Found, kinds: Sequence[ast.ClassDef], *, own: bool, depth: int = 20) -> bool:
    """Tell whether a class is one of the kinds or derives from one; ``own``: a base that is not found may do so."""
    module, node = found
    if node in kinds:
        return True
    bases = [_class_of(module, base.value if isinstance(base, ast.Subscript) else base) for base in node.bases]
    return bool(depth) and any(
        own if base is None else _derives(base, kinds, own=own, depth=depth - 1) for base in bases
    )
