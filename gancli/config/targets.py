"""The signature of the class that a ``_target_`` names, read from its source without importing anything."""

import ast
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gancli.errors import UsageError, did_you_mean

# Base classes without arguments; nn.Module accepts any in its signature but rejects them at run time.
_PLAIN_BASES = ("object", "ABC", "Protocol", "Generic", "NamedTuple", "Module", "Optimizer")
TRUSTED = ("gancli", "torch.optim", "torch.nn")  # not all of torch: torch.hub.load runs code from the network
_DEPTH = 20  # how many re-exports and base classes are followed, as a guard against cycles


@dataclass(frozen=True)
class Parameter:
    """One argument of a constructor."""

    required: bool
    annotation: ast.expr | None
    module: "Module"  # where the annotation is written


@dataclass
class Signature:
    """The arguments of a constructor, by name."""

    parameters: dict[str, Parameter] = field(default_factory=dict)
    open: bool = False  # accepts **kwargs that could not be followed, so any key may be valid


class NotFound(Exception):
    """The source does not tell; the message is the text after ``_target_=...:``."""


class Module:
    """The syntax tree of one source file."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.is_package = path.name == "__init__.py"
        try:
            self.tree = ast.parse(path.read_bytes(), str(path))
        except (SyntaxError, OSError, ValueError) as error:
            raise NotFound(f"{path} cannot be read ({str(error).splitlines()[0]})") from error
        self.names = {name: node for node in _statements(self.tree.body) for name in _bound(node)}

    def absolute(self, node: ast.ImportFrom) -> str:
        """Return the full name of the module in a ``from ... import`` of this file."""
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        up = node.level - self.is_package
        return ".".join(parts[: len(parts) - up] + ([node.module] if node.module else []))


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run when a module is imported, including those below ``if`` and ``try``."""
    for node in body:
        yield node
        for block in ("body", "orelse", "handlers", "finalbody"):
            if isinstance(node, (ast.If, ast.Try, ast.With, ast.ExceptHandler)):
                yield from _statements(getattr(node, block, []))


def _bound(node: ast.stmt) -> list[str]:
    """Return the names that a statement binds; ``*module`` stands for a star import."""
    if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        return [node.name]
    if isinstance(node, ast.ImportFrom):
        return [f"*{node.level}{node.module}" if a.name == "*" else a.asname or a.name for a in node.names]
    if isinstance(node, ast.Import):
        return [a.asname or a.name.partition(".")[0] for a in node.names]
    if isinstance(node, ast.Assign):
        parts = [part for t in node.targets for part in (t.elts if isinstance(t, ast.Tuple) else [t])]
        return [part.id for part in parts if isinstance(part, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
        return [node.target.id]
    return []


def _root(package: str) -> Path:
    """Return the folder or file of a top-level package without importing it."""
    try:
        spec = find_spec(package)
    except (ValueError, ImportError):
        spec = None
    if spec is None:
        raise NotFound(f"no module {package!r}; install it, or put its folder on PYTHONPATH")
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    if not spec.origin or not spec.origin.endswith(".py"):
        raise NotFound(f"{package!r} has no Python source to read the arguments from")
    return Path(spec.origin)


@cache
def _module(name: str) -> Module:
    """Find and parse a module by its dotted name."""
    first, *rest = name.split(".")
    path = _root(first)
    for index, part in enumerate(rest):
        inside = os.listdir(path) if path.is_dir() else []  # matches case even if the file system does not
        if part in inside and (path / part).is_dir():
            path = path / part
        elif f"{part}.py" in inside:
            path = path / f"{part}.py"
        else:
            raise NotFound(f"no module {part!r} in {'.'.join([first, *rest[:index]])!r}")
    file = path / "__init__.py" if path.is_dir() else path
    if not file.is_file():
        raise NotFound(f"{name!r} is a folder without code")
    return Module(name, file)


def _lookup(module: Module, name: str, depth: int = _DEPTH) -> tuple[Module, ast.stmt]:
    """Follow a name through re-exports to the statement that defines it."""
    if not depth:
        raise NotFound(f"{name!r} is imported in a circle")
    node = module.names.get(name)
    if isinstance(node, ast.ImportFrom):
        original = next(a.name for a in node.names if (a.asname or a.name) == name)
        return _lookup(_module(module.absolute(node)), original, depth - 1)
    if isinstance(node, ast.Assign) and isinstance(node.value, (ast.Name, ast.Attribute)):
        return resolve(module, node.value, depth - 1)
    if node is not None:
        return module, node
    for star, node in module.names.items():
        if star.startswith("*") and isinstance(node, ast.ImportFrom):
            try:
                return _lookup(_module(module.absolute(node)), name, depth - 1)
            except NotFound:
                continue
    known = [n for n, node in module.names.items() if isinstance(node, (ast.ClassDef, ast.ImportFrom)) and n[0] != "*"]
    raise NotFound(f"no class {name!r} in {module.name!r}{did_you_mean(name, known)}")


def resolve(module: Module, node: ast.expr, depth: int = _DEPTH) -> tuple[Module, ast.stmt]:
    """Follow ``Name`` or ``package.module.Name``, as written in a module, to its definition."""
    if isinstance(node, ast.Subscript):  # Base[T]
        node = node.value
    if isinstance(node, ast.Name):
        return _lookup(module, node.id, depth)
    if not isinstance(node, ast.Attribute):
        raise NotFound(f"{ast.unparse(node)} is computed when the module runs")
    first, *middle = ast.unparse(node.value).split(".")
    importer = module.names.get(first)
    if isinstance(importer, ast.Import):
        alias = next(a for a in importer.names if (a.asname or a.name.partition(".")[0]) == first)
        base = alias.name if alias.asname else first
    elif isinstance(importer, ast.ImportFrom):
        alias = next(a for a in importer.names if (a.asname or a.name) == first)
        base = f"{module.absolute(importer)}.{alias.name}"
    else:
        raise NotFound(f"{ast.unparse(node)} is computed when the module runs")
    return _lookup(_module(".".join([base, *middle])), node.attr, depth)


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
        if name in _bound(each):
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
        where, node = _lookup(_module(module), name)
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
    parameters = {a.arg: Parameter(i < free, a.annotation, module) for i, a in enumerate(positional)}
    parameters |= {a.arg: Parameter(d is None, a.annotation, module) for a, d in zip(args.kwonlyargs, args.kw_defaults)}
    if not args.kwarg:
        return Signature(parameters)
    inherited = _of_bases(module, node, depth, name)  # **kwargs is passed to the base class
    return Signature(inherited.parameters | parameters, inherited.open or not node.bases)


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
    return {name: Parameter(n.value is None, n.annotation, module) for name, n in named}
