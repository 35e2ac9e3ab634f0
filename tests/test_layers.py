"""The rules that keep the source readable: who imports whom, how long files and functions are, who catches what."""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / "gancli"
FILES = sorted(PACKAGE.rglob("*.py"))
LOOP = {("loop.py", "_loop"), ("loop.py", "train")}  # the loop may have 200 lines, any other function 60

# Room -> the rooms that it may import, besides itself and what lies loose (errors, files, folders, console).
ROOMS: dict[str, set[str]] = {
    "data": set(),
    "nn": set(),
    "config": {"data", "nn.annealed", "verbs.VERBS", "verbs.base"},  # what verbs declare, not what they run
    "models": {"nn", "data"},
    "losses": {"models", "nn", "data"},
    "views": {"models", "data", "config"},
    "metrics": {"models", "data", "config", "views"},
    "training": {"metrics", "views", "losses", "models", "nn", "data", "config"},
    "lectures": {"training", "metrics", "views", "losses", "models", "nn", "data", "config"},
    "verbs": {"lectures", "training", "metrics", "views", "losses", "models", "data", "config"},
    "cli": {"verbs", "config", "training"},
}
LOOSE = {"__init__", "errors", "files", "folders", "structure", "console", "ranges"}
PLUGINS = {"cli.launcher.plugin", "cli.launcher.search"}  # of Hydra's
# Third-party package -> the only modules that may import it.
ONLY = {
    "hydra": {
        "cli.command",
        "config",
        "config.composition",
        "config.reading",
        "config.variants",
        "config.mended",
        "config.space",
        *PLUGINS,
    },
    "omegaconf": {
        "config",
        "config.composition",
        "config.groups",
        "config.plain_yaml",
        "config.reading",
        "config.variants",
        *PLUGINS,
        "api",
    },  # api: as the type of what it returns
    "tensorboard": {"training.tracker"},
    "torch.utils.tensorboard": {"training.tracker"},
    "torch.distributed": {"nn.ranks", "training.ranks"},
    "optuna": {"verbs.tune.study", "verbs.tune.run", "verbs.tune.figures"},
}
# These answer before torch is there: what they import at the top must be free of it.
LIGHT = {
    "__init__", "__main__", "cli", "cli.command", "config", "errors", "files", "folders", "structure", "ranges",
    "nn.__init__", "nn.annealed", "training.checkpoint", "training.guard", "training.integrity", "training.place",
    "training.doctor.rules", "training.doctor.history",
    *(f"verbs.report.{name}" for name in ("run", "runs", "protocols", "grouping", "table", "words")),
}  # fmt: skip
# Here errors of any kind become one line.
WIDE = [PACKAGE / "cli" / name for name in ("__init__.py", "calls.py", "command.py", "job.py", "ranks.py")]
# What verbs declare is read by gancli --help, before Hydra is there: at their tops these modules import each other,
# errors and the standard library, and no more.
DECLARATIONS = {"errors", "verbs.train", "verbs.doctor", "verbs.base"} | {
    f"verbs.{path.parent.name}.verb" for path in (PACKAGE / "verbs").glob("*/verb.py")
}


def name_of(path: Path) -> str:
    """gancli/models/base.py -> models.base; gancli/nn/__init__.py -> nn."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


@cache  # seven rules ask for it
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(nodes: Iterator[ast.AST] | list[ast.stmt]) -> Iterator[str]:
    """Yield the dotted names that statements import: the module, and module.name for each name."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, allowed: set[str]) -> bool:
    return any(name == a or name.startswith(a + ".") for a in allowed)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_who_imports_whom(path: Path) -> None:
    name, found = name_of(path), set(imports(ast.walk(tree_of(path))))
    own = {f.removeprefix("gancli.") for f in found if f.startswith("gancli.") and f != "gancli.__version__"}
    room = name.partition(".")[0]
    if room in ROOMS:
        allowed = {room, *ROOMS[room], *LOOSE}
        assert {f for f in own if not within(f, allowed)} == set()
    for package, allowed in ONLY.items():
        if name not in allowed:
            assert {f for f in found if within(f, {package})} == set()


@pytest.mark.parametrize("path", [f for f in FILES if within(name_of(f), LIGHT)], ids=name_of)
def test_light_modules_stay_light(path: Path) -> None:
    for found in imports(tree_of(path).body):
        assert not within(found, {"torch", "torchvision", "numpy", "rich", "sklearn"})
        if found.startswith("gancli.") and found != "gancli.__version__":
            assert within(found.removeprefix("gancli."), LIGHT | DECLARATIONS | {"verbs.VERBS", "verbs.SUMMARIES"}), (
                f"{name_of(path)} imports {found} at its top"
            )


@pytest.mark.parametrize("path", [f for f in FILES if name_of(f) in DECLARATIONS | {"verbs"}], ids=name_of)
def test_declarations_of_verbs_import_nothing_heavy(path: Path) -> None:
    for found in imports(tree_of(path).body):
        assert found.partition(".")[0] in sys.stdlib_module_names or within(
            found, {f"gancli.{n}" for n in DECLARATIONS}
        )


@pytest.mark.parametrize("path", [f for f in FILES if f.name == "__init__.py"], ids=name_of)
def test_package_files_hold_a_docstring_only(path: Path) -> None:
    body = tree_of(path).body
    assert isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    if path.parent == PACKAGE:  # the library's face, lazy: names, and the function that imports gancli.api
        kinds = {ast.Assign, ast.Import, ast.ImportFrom, ast.If, ast.FunctionDef}
        assert {type(node) for node in body[1:]} == kinds and not {"torch", "hydra"} & set(imports(body))
        return
    assert body[1:] == [] or path.parent.name in ("cli", "config", "verbs")  # their package's face


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_lengths(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 300
    assert [i for i, line in enumerate(lines, 1) if len(line) > 120] == []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef):
            length = node.end_lineno - node.lineno + 1
            assert length <= (200 if (path.name, node.name) in LOOP else 60), f"{node.name}: {length} lines"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_the_cli_catches_everything(path: Path) -> None:
    caught = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.ExceptHandler)]
    names = [{"BaseException"} if n.type is None else set(ast.unparse(n.type).strip("()").split(", ")) for n in caught]
    wide = [each for each in names if each & {"Exception", "BaseException"}]
    assert path in WIDE or wide == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_modules_say_what_they_are(path: Path) -> None:
    assert ast.get_docstring(tree_of(path))


def test_the_table_of_the_source_map_is_what_is_kept() -> None:
    text = (PACKAGE / "README.md").read_text(encoding="utf-8")
    table = text.partition("| room | may import |\n|---|---|\n")[2].partition("\n\n")[0]
    rows = [[cell.split() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert {room[0].strip("`"): {each.strip("`") for each in allowed} for room, allowed in rows} == ROOMS


def test_every_room_is_on_the_source_map_and_nothing_else_lies_loose() -> None:
    rooms = {path.parent.name for path in PACKAGE.glob("*/*.py")}
    assert rooms == set(ROOMS)
    assert {path.stem for path in PACKAGE.glob("*.py")} == LOOSE | {"__main__", "api"}  # which no room may import


FAMILIES = {"Adversarial", "Explicit", "Autoregressive", "LatentVariable"}
FAMILIES |= {"Translation", "Cyclic", "Paired", "MultiDomain"}
ASKS = ("models", "losses", "views", "metrics.scoring")  # where a family may be asked for


@pytest.mark.parametrize("path", [f for f in FILES if not within(name_of(f), set(ASKS))], ids=name_of)
def test_a_family_speaks_for_itself(path: Path) -> None:
    calls = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
    asked = [node for node in calls if ast.unparse(node.func) in ("isinstance", "issubclass")]
    assert [ast.unparse(node) for node in asked if families(node.args[1])] == []


def families(node: ast.expr) -> set[str]:
    """Return the families among the names of an expression."""
    return {ast.unparse(each).rpartition(".")[2] for each in ast.walk(node)} & FAMILIES


def test_the_rule_of_families_can_fail() -> None:
    assert families(ast.parse("isinstance(model, (Model, base.Translation))").body[0].value.args[1]) == {"Translation"}


TESTS = sorted((ROOT / "tests").rglob("*.py"))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_tests_import_helpers_and_no_other_test(path: Path) -> None:
    assert other_tests(tree_of(path)) == []
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


def other_tests(tree: ast.Module) -> list[str]:
    """Return the test modules that a module imports, anywhere in it."""
    return [name for name in imports(ast.walk(tree)) if any(part.startswith("test_") for part in name.split("."))]


def test_names_of_test_files_differ() -> None:
    """pytest imports each by its name alone; a helper's name is taken, too."""
    assert len({path.name for path in TESTS}) == len(TESTS)


def test_files_that_tests_name_exist() -> None:
    named = {name for path in TESTS for name in re.findall(r"\btests/[\w/]+\.\w+", path.read_text(encoding="utf-8"))}
    assert len(named) > 5 and {name for name in named if not (ROOT / name).exists()} == set()


@pytest.mark.parametrize(
    "line", ["import test_kde", "from test_kde import run", "def f():\n    from models.test_kde import run"]
)
def test_the_rule_of_imports_can_fail(line: str) -> None:
    assert other_tests(ast.parse(line))
    assert not other_tests(ast.parse("from helpers import tensors"))


def test_a_number_in_a_message_agrees_with_its_noun() -> None:
    """`1 images` reads like a fault; errors.counted() says `1 image`."""
    found = [
        (path.name, hit)
        for path in FILES
        for hit in re.findall(r"%d (?:images|pictures|points|runs)", path.read_text())
    ]
    assert not found
