"""Mutants: break a room of the package in small ways and see whether its tests notice.

    make mutants ROOM=losses N=20 SEED=0

A seeded sample of mutants is made in a copy of the checkout, one at a time: a comparison, an operator, a number or a
boolean changed, a condition turned round, a return value or a call taken away. The tests of the room (and the layers'
neighbours that are named with TESTS=...) run against each; those that survive are listed with their line. A survivor is
a missing test, or a change that changes nothing.
"""

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 300  # for the tests of one mutant
COMPARISONS = {ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
COMPARISONS |= {ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In}
OPERATORS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Mod: ast.Mult}
OPERATORS |= {ast.And: ast.Or, ast.Or: ast.And}


class Mutant(NamedTuple):
    """One change: the file's new text, its line, and the expression before and after."""

    line: int
    before: str
    after: str
    text: str


def mutants(source: str) -> Iterator[Mutant]:
    """Yield every mutant of a source text."""
    count = sum(1 for _ in ast.walk(ast.parse(source)))
    for index in range(count):
        tree = ast.parse(source)
        node = list(ast.walk(tree))[index]
        before = ast.unparse(node) if isinstance(node, (ast.expr, ast.stmt)) else ""
        if _change(node):
            yield Mutant(node.lineno, before.splitlines()[0], ast.unparse(node).splitlines()[0], ast.unparse(tree))


def _change(node: ast.AST) -> bool:
    """Change a node in place, and tell whether it is of a kind that can be changed."""
    if isinstance(node, ast.Compare):
        kind = COMPARISONS.get(type(node.ops[0]))
        node.ops[0] = kind() if kind else node.ops[0]
        return kind is not None
    if isinstance(node, (ast.BinOp, ast.BoolOp)):
        kind = OPERATORS.get(type(node.op))
        node.op = kind() if kind else node.op
        return kind is not None
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        node.value = not node.value
        return True
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        node.value = node.value + 1
        return True
    if isinstance(node, (ast.If, ast.IfExp)):
        node.test = ast.UnaryOp(ast.Not(), node.test)
        return True
    if isinstance(node, ast.Return) and node.value and not isinstance(node.value, ast.Constant):
        node.value = ast.Constant(None)
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        node.value = ast.Constant(None)
        return True
    return False


def sample(files: list[Path], n: int, seed: int) -> list[tuple[Path, Mutant]]:
    """Draw n mutants of several files, each as likely as any other."""
    found = [(file, each) for file in files for each in mutants(file.read_text(encoding="utf-8"))]
    return random.Random(seed).sample(found, min(n, len(found)))


def killed(copy_: Path, file: Path, mutant: Mutant, tests: list[str]) -> bool:
    """Tell whether the tests notice a mutant; a hang and an error count as noticed."""
    target = copy_ / file.relative_to(ROOT)
    original = target.read_text(encoding="utf-8")
    target.write_text(mutant.text, encoding="utf-8")
    words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTHONPATH": str(copy_), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        return subprocess.run(words, cwd=copy_, env=environment, capture_output=True, timeout=SECONDS).returncode != 0
    except subprocess.TimeoutExpired:
        return True
    finally:
        target.write_text(original, encoding="utf-8")


def main() -> int:
    """Run the sample, and return 0: what survives is for a reader to judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("room", help="a folder or file of gancli: losses, training/ema.py")
    parser.add_argument("--n", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tests", nargs="*", help="what is run; tests/<room> unless named")
    given = parser.parse_args()
    where = ROOT / "gancli" / given.room
    files = sorted(where.rglob("*.py")) if where.is_dir() else [where]
    tests = given.tests or [f"tests/{given.room.split('/')[0]}"]
    with tempfile.TemporaryDirectory() as folder:
        copy_ = Path(folder) / "checkout"
        shutil.copytree(
            ROOT, copy_, ignore=shutil.ignore_patterns(".git", ".venv*", "__pycache__", "outputs", ".*cache")
        )
        shutil.copytree(ROOT / "outputs" / "results", copy_ / "outputs" / "results")
        drawn, survivors = sample(files, given.n, given.seed), 0
        for file, mutant in drawn:
            dead = killed(copy_, file, mutant, tests)
            survivors += not dead
            line = f"{file.relative_to(ROOT)}:{mutant.line}: {mutant.before}  ->  {mutant.after}"
            print(f"{'killed  ' if dead else 'SURVIVED'}  {line}", flush=True)
    print(f"{survivors} of {len(drawn)} survived {' '.join(tests)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
