"""The signature of the class that a ``_target_`` names, read from its source without importing anything."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from gancli.config.modules import Module, NotFound, bound, expanded, lookup, module_named, resolve
from gancli.errors import UsageError

# Base classes without arguments; nn.Module accepts any in its signature but rejects them at run time.
_PLAIN_BASES = ("object", "ABC", "Protocol", "Generic", "NamedTuple", "Module", "Optimizer")
TRUSTED = ("gancli", "torch.optim", "torch.nn")  # not all of torch: torch.hub.load runs code from the network
_DEPTH = 20  # how many base classes are followed, as a guard against cycles


@dataclass(frozen=True)
class Parameter:
    """One argument of a constructor."""

    required: bool
    annotation: ast.expr | None  # without aliases
    module: Module  # where the annotation is written


@dataclass
class Signature:
    """The arguments of a constructor, by name."""

    parameters: dict[str, Parameter] = field(default_factory=dict)
    open: bool = False  # accepts **kwargs that could not be followed, so any key may be valid


def is_trusted(name: str, trust: Sequence[str]) -> bool:
    """Tell whether a dotted name belongs to a package whose classes may be built."""
    return any(name == p or name.startswith(f"{p}.") for p in (*TRUSTED, *trust))


def check_trusted(target: str, trust: Sequence[str]) -> None:
    """Refuse a target outside the trusted packages by its name, before it is imported.

    Raises:
        UsageError: the target is not trusted; the message gives the ``trust=[...]`` that would allow it.
    """
    if not is_trusted(target.rpartition(".")[0], trust):
        first = target.partition(".")[0]
        own = ", ".join(TRUSTED)
        raise UsageError(f"_target_={target} is refused: it is outside {own}; if you trust it, add 'trust=[{first}]'")


@cache
def signature(target: str) -> Signature:
    """Return the constructor's signature of the class ``package.module.Class``.

    Raises:
        UsageError: there is no such class, or its source cannot be found; the message starts with the reason.
    """
    return _of_class(*find(target))


@cache
def method(target: str, name: str) -> Signature:
    """Return the signature of a method of ``package.module.Class``, without arguments if there is no such method.

    Raises:
        UsageError: see signature().
    """
    return _of_class(*find(target), name=name)


@cache
def constant(target: str, name: str) -> Any:
    """Return the literal that the body of the class ``package.module.Class`` or of a base assigns to an attribute.

    The result is None if none of them assigns it, or not as a literal.

    Raises:
        UsageError: see signature().
    """
    return next(_constants(*find(target), name, _DEPTH), None)


def _constants(module: Module, node: ast.ClassDef, name: str, depth: int) -> Iterator[Any]:
    """Yield the values that a class and its bases, nearest first, assign to an attribute; None if not a literal."""
    for each in node.body:
        if name in bound(each):
            value, targets = getattr(each, "value", None), getattr(each, "targets", ())
            if isinstance(value, ast.Tuple) and targets and isinstance(targets[0], ast.Tuple):  # a, b = 1, 2
                value = dict(zip(map(ast.unparse, targets[0].elts), value.elts)).get(name)
            try:
                yield ast.literal_eval(value) if value else None
            except ValueError:
                yield None
    for where, base in _bases(module, node) if depth else ():
        yield from _constants(where, base, name, depth - 1)


@cache
def find(target: str) -> tuple[Module, ast.ClassDef]:
    """Return the module and the syntax tree in which the class ``package.module.Class`` is defined."""
    module, _, name = target.rpartition(".")
    try:
        if not module:
            raise NotFound("write it as package.module.Class")
        where, node = lookup(module_named(module), name)
        if not isinstance(node, ast.ClassDef):
            raise NotFound("it is not a class")
    except NotFound as error:
        raise UsageError(f"_target_={target}: {error}") from error
    return where, node


def _bases(module: Module, node: ast.ClassDef) -> Iterator[tuple[Module, ast.ClassDef]]:
    """Yield the base classes that can be found, in order."""
    for base in node.bases:
        try:
            where, found = resolve(module, base)
        except NotFound:
            continue
        if isinstance(found, ast.ClassDef):
            yield where, found


def _of_class(module: Module, node: ast.ClassDef, depth: int = _DEPTH, name: str = "__init__") -> Signature:
    methods = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == name]
    fields = _fields(module, node) if name == "__init__" else None
    if not methods:
        inherited = _of_bases(module, node, depth, name)
        return inherited if fields is None else Signature(inherited.parameters | fields, inherited.open)
    args = methods[-1].args  # the last one, as those before it are overloads
    positional = (args.posonlyargs + args.args)[1:]
    free = len(positional) - len(args.defaults)
    parameters = {a.arg: _parameter(i < free, a, module) for i, a in enumerate(positional)}
    parameters |= {a.arg: _parameter(d is None, a, module) for a, d in zip(args.kwonlyargs, args.kw_defaults)}
    if not args.kwarg:
        return Signature(parameters)
    inherited = _of_bases(module, node, depth, name)  # **kwargs is passed to the base class
    return Signature(inherited.parameters | parameters, inherited.open or not node.bases)


def _parameter(required: bool, node: ast.arg | ast.AnnAssign, module: Module) -> Parameter:
    return Parameter(required, expanded(module, node.annotation), module)


def _of_bases(module: Module, node: ast.ClassDef, depth: int, method: str) -> Signature:
    """Return the signature of a method or constructor that a class inherits."""
    if not depth:
        return Signature(open=True)
    for base in node.bases:
        name = ast.unparse(base.value if isinstance(base, ast.Subscript) else base).rpartition(".")[2]
        if name in _PLAIN_BASES:
            continue
        try:
            where, found = resolve(module, base)
        except NotFound:
            return Signature(open=True)
        if not isinstance(found, ast.ClassDef):
            return Signature(open=True)
        inherited = _of_class(where, found, depth - 1, method)
        if inherited.parameters or inherited.open:
            return inherited
    return Signature()


def _fields(module: Module, node: ast.ClassDef) -> dict[str, Parameter] | None:
    """Return the arguments of a dataclass or NamedTuple; None for any other class."""
    marks = [ast.unparse(d.func if isinstance(d, ast.Call) else d) for d in node.decorator_list]
    marks += [ast.unparse(b) for b in node.bases]
    if not any(m.rpartition(".")[2] in ("dataclass", "NamedTuple") for m in marks):
        return None
    fields = [n for n in node.body if isinstance(n, ast.AnnAssign) and "ClassVar" not in ast.unparse(n.annotation)]
    named = [(n.target.id, n) for n in fields if isinstance(n.target, ast.Name)]
    return {name: _parameter(n.value is None, n, module) for name, n in named}
