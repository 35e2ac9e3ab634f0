"""Python modules as syntax trees, in which names are followed to what they stand for without importing anything."""

import ast
import os
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from gancli.errors import did_you_mean

_DEPTH = 20  # how many re-exports and aliases are followed, as a guard against cycles


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
        self.names = {name: node for node in _statements(self.tree.body) for name in bound(node)}

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


def bound(node: ast.stmt) -> list[str]:
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
def module_named(name: str) -> Module:
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


def lookup(module: Module, name: str, depth: int = _DEPTH) -> tuple[Module, ast.stmt]:
    """Follow a name through re-exports to the statement that defines it."""
    if not depth:
        raise NotFound(f"{name!r} is imported in a circle")
    node = module.names.get(name)
    if isinstance(node, ast.ImportFrom):
        original = next(a.name for a in node.names if (a.asname or a.name) == name)
        return lookup(module_named(module.absolute(node)), original, depth - 1)
    if isinstance(node, ast.Assign) and isinstance(node.value, (ast.Name, ast.Attribute)):
        return resolve(module, node.value, depth - 1)
    if node is not None:
        return module, node
    for star, node in module.names.items():
        if star.startswith("*") and isinstance(node, ast.ImportFrom):
            try:
                return lookup(module_named(module.absolute(node)), name, depth - 1)
            except NotFound:
                continue
    known = [n for n, node in module.names.items() if isinstance(node, (ast.ClassDef, ast.ImportFrom)) and n[0] != "*"]
    raise NotFound(f"no class {name!r} in {module.name!r}{did_you_mean(name, known)}")


def resolve(module: Module, node: ast.expr, depth: int = _DEPTH) -> tuple[Module, ast.stmt]:
    """Follow ``Name`` or ``package.module.Name``, as written in a module, to its definition."""
    if isinstance(node, ast.Subscript):  # Base[T]
        node = node.value
    if isinstance(node, ast.Name):
        return lookup(module, node.id, depth)
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
    return lookup(module_named(".".join([base, *middle])), node.attr, depth)


def expanded(module: Module, annotation: ast.expr | None, depth: int = 5) -> ast.expr | None:
    """Return an annotation with aliases replaced by what they stand for: ``How`` by ``Literal["auto", "flat"]``.

    Args:
        module: where it is written.
        annotation: it is left as it is.
        depth: how many aliases of aliases are followed.
    """
    return annotation if annotation is None else _Expanding(module, depth).visit(deepcopy(annotation))


class _Expanding(ast.NodeTransformer):
    def __init__(self, module: Module, depth: int) -> None:
        self.module, self.depth = module, depth

    def visit_Name(self, node: ast.Name | ast.Attribute) -> ast.expr:
        try:
            where, found = resolve(self.module, node)
        except NotFound:  # a builtin
            return node
        value = found.value if isinstance(found, (ast.Assign, ast.AnnAssign)) else None
        if not self.depth or not isinstance(value, (ast.Subscript, ast.BinOp)):
            return node
        return _Expanding(where, self.depth - 1).visit(deepcopy(value))

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        return self.visit_Name(node)
