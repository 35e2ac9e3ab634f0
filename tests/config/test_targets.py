"""What may be built, and what a class accepts, read from its source without importing it."""

import ast
import re
import sys
import textwrap
from functools import partial
from pathlib import Path

import pytest
import torch
from helpers import compose, run

from gancli import config
from gancli.config import instantiate, targets
from gancli.config.annotations import fits, floated
from gancli.config.targets import signature
from gancli.errors import UsageError
from gancli.losses.base import Loss
from gancli.losses.penalties import R1
from gancli.models.base import Model
from gancli.training.schedules import Linear, Schedule


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that writes a package whose import leaves a file, and gives that file's path."""
    names: list[str] = []

    def write(name: str, **sources: str) -> Path:
        canary = tmp_path / f"{name}.imported"
        (tmp_path / name).mkdir()
        sources.setdefault("__init__", "")
        for module, text in sources.items():
            trap = f"open({str(canary)!r}, 'w').close()\n" if module == "__init__" else ""
            (tmp_path / name / f"{module}.py").write_text(trap + textwrap.dedent(text))
        names.append(name)
        return canary

    monkeypatch.syspath_prepend(tmp_path)
    yield write
    for module in [m for m in sys.modules if m.partition(".")[0] in names]:
        del sys.modules[module]


# What is built


def test_builds_classes_of_the_kind() -> None:
    built = instantiate({"_target_": "gancli.training.schedules.Linear", "start": 0.25}, Schedule)
    assert type(built) is Linear and built.factor.start == 0.25


def test_builds_partials_and_what_is_inside() -> None:
    node = {"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.5}
    built = instantiate(node, torch.optim.Optimizer)
    assert isinstance(built, partial) and built.func is torch.optim.SGD and built.keywords == {"lr": 0.5}
    penalties = {"r1": {"_target_": "gancli.losses.penalties.R1", "gamma": 2.0}}
    built = instantiate({"_target_": "gancli.losses.adversarial.Hinge", "penalties": penalties}, Loss)
    assert type(built.penalties["r1"]) is R1 and built.penalties["r1"].gamma == 2.0


def test_arguments_of_the_program_win() -> None:
    built = instantiate({"_target_": "gancli.training.schedules.Linear", "start": 0.25}, Schedule, start=0.75)
    assert built.factor.start == 0.75


def test_composed_configs_build(cli) -> None:
    cfg = config.compose("train")
    optimizer = instantiate({k: v for k, v in cfg.optimizer.items() if k != "overrides"}, torch.optim.Optimizer)
    assert type(optimizer.keywords["betas"]) is list
    assert optimizer([torch.nn.Parameter(torch.zeros(1))]).defaults["lr"] == 2e-4
    source, loader = config.build_data(cfg.data)
    assert type(source).__name__ == "Digits" and loader == {"flip": False, "resident": None, "workers": 2}


REFUSED = [
    "os.system", "builtins.eval", "builtins.exec", "eval", "", "subprocess.Popen", "torch.hub.load", "torch.load",
    "torch.utils.cpp_extension.load_inline", "gancli.cli.sys.exit", "gancli.cli.main", "gancli.config.Path",
    "gancli.cli.Path", "gancli.cli.status.os.system", "gancli.cli.Job", "torch.nn.functional.relu",
    "torch.nn.modules.os.system",
    "gancli.errors.UsageError", "gancli.losses.adversarial.Tensor", "gancli.losses", "gancli.nope.X", "gancli..x",
    "gancli.losses.adversarial.NoSuch", ".system", "gancli.losses.adversarial.",
]  # fmt: skip


@pytest.mark.parametrize("target", REFUSED)
def test_refused_with_one_line(target: str, capsys) -> None:
    with pytest.raises(UsageError) as caught:
        instantiate({"_target_": target, "command": "true"}, Loss)
    assert "\n" not in str(caught.value) and "_target_=" in str(caught.value)


def test_another_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="Linear is refused: it is not a subclass of Model"):
        instantiate({"_target_": "gancli.training.schedules.Linear"}, Model)


def test_what_is_refused_is_not_even_imported(package) -> None:
    canary = package("evil", __init__="class Net: pass")
    with pytest.raises(UsageError, match=r"trust=\[evil\]"):
        instantiate({"_target_": "evil.Net"}, object)
    with pytest.raises(UsageError, match="refused"):
        instantiate({"_target_": "gancli.training.schedules.Linear", "start": {"_target_": "evil.Net"}}, Schedule)
    assert not canary.exists()


def test_a_prefix_of_a_trusted_name_is_not_trusted(package) -> None:
    canary = package("gancli_evil", __init__="class Net: pass")
    for trust in ((), ("gancli_evi",)):
        with pytest.raises(UsageError, match="refused"):
            instantiate({"_target_": "gancli_evil.Net"}, object, trust=trust)
    assert not canary.exists()


def test_a_trusted_package_is_built_but_not_what_it_imports(package) -> None:
    package("friendly", nets="from pathlib import Path\nclass Net:\n  def __init__(self, width):\n    self.w = width\n")
    assert instantiate({"_target_": "friendly.nets.Net", "width": 3}, object, trust=["friendly"]).w == 3
    with pytest.raises(UsageError, match="refused"):
        instantiate({"_target_": "friendly.nets.Path"}, object, trust=["friendly"])


def test_a_value_that_the_class_refuses_is_one_line(package) -> None:
    package("picky", __init__="class Net:\n    def __init__(self):\n        raise ValueError('width must be even')\n")
    with pytest.raises(UsageError, match="picky.Net: width must be even"):
        instantiate({"_target_": "picky.Net"}, object, trust=["picky"])


def test_the_command_line_refuses_before_anything_runs(cli, package) -> None:
    canary = package("evil", __init__="class Net: pass")
    answer = cli("train", "model._target_=evil.Net")
    assert answer.code == 2 and "refused" in answer.err and not canary.exists()


# What a class accepts


def test_checking_imports_nothing(cli, package) -> None:
    canary = package("mine", nets="class Net:\n    def __init__(self, spec, width: int = 3): ...\n")
    answer = cli(
        "train",
        "model=wgan_gp_resnet",
        "model._target_=mine.nets.Net",
        "~model.latent_dim",
        "model.width=x",
        "trust=[mine]",
    )
    assert (answer.code, "model.width: expected int, got 'x'" in answer.err) == (2, True)
    assert not canary.exists()


_DATACLASS = "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass C:\n  a: int\n  b: int = 1"
_TUPLE = "from typing import NamedTuple\nclass C(NamedTuple):\n  a: int\n  b: int = 1"
_GUARDED = "try:\n  import x\nexcept ImportError:\n  if True:\n    class C:\n      def __init__(self, q): ..."
_BASE = "class B:\n  def __init__(self, a, b=1): ...\n"
SOURCES = {
    # name: (source, required arguments, those with a default, takes others)
    "plain": ("class C:\n  def __init__(self, a, b: int = 1, *, c, d: str = ''): ...", "ac", "bd", False),
    "inherited": (f"{_BASE}class C(B):\n  x = 1", "a", "b", False),
    "second base": (f"{_BASE}class A: pass\nclass C(A, B): ...", "a", "b", False),
    "kwargs": (f"{_BASE}class C(B):\n  def __init__(self, c, **kw): ...", "ac", "b", False),
    "free kwargs": ("class C:\n  def __init__(self, a, **kw): ...", "a", "", True),
    "dataclass": (_DATACLASS, "a", "b", False),
    "NamedTuple": (_TUPLE, "a", "b", False),
    "unknown base": ("from nowhere import B\nclass C(B): ...", "", "", True),
    "computed base": ("def f(): ...\nclass C(f()): ...", "", "", True),
    "re-export": ("from .other import D as C", "z", "", False),
    "star": ("from .other import *", "z", "", False),
    "alias": ("from . import other\nC = other.C", "z", "", False),
    "behind if and try": (_GUARDED, "q", "", False),
    "itself": ("class C(C): ...", "", "", True),
}


@pytest.mark.parametrize("name", SOURCES)
def test_signatures(package, name: str) -> None:
    source, required, optional, is_open = SOURCES[name]
    other = "class D:\n  def __init__(self, z): ...\nclass C(D): ..."
    canary = package(f"pkg_{name.replace(' ', '_').replace('-', '_')}", module=source, other=other)
    found = signature(f"{canary.stem}.module.C")
    wanted = dict.fromkeys(required, True) | dict.fromkeys(optional, False)
    assert ({key: p.required for key, p in found.parameters.items()}, found.open) == (wanted, is_open)
    assert not canary.exists()


MISSING = {
    "no_such_package.C": "no module 'no_such_package'",
    "gancli.no_such_module.C": "no module 'no_such_module' in 'gancli'",
    "gancli.training.schedules.Lineer": "no class 'Lineer' in 'gancli.training.schedules'; did you mean 'Linear'?",
    "gancli.cli.main": "it is not a class",
    "math.sqrt": "no Python source",
    "sys.exit": "no Python source",
    "C": "write it as package.module.Class",
}


@pytest.mark.parametrize("target", MISSING)
def test_no_signature(target: str) -> None:
    with pytest.raises(UsageError) as caught:
        signature(target)
    assert MISSING[target] in str(caught.value)


def test_circles_end(package) -> None:
    package("circle", a="from .b import C", b="from .a import C")
    with pytest.raises(UsageError, match="circle"):
        signature("circle.a.C")


@pytest.mark.parametrize("target", ["torch.optim.Adam", "torch.optim.SGD", "torch.optim.RMSprop", "torch.optim.AdamW"])
def test_signatures_are_those_that_python_sees(target: str) -> None:
    import inspect

    real = inspect.signature(getattr(torch.optim, target.rpartition(".")[2])).parameters
    found = signature(target).parameters
    assert {k: p.required for k, p in found.items()} == {k: p.default is p.empty for k, p in real.items()}


FITS = [
    ("int", [1, 0], [1.0, True, "1", None, [1]]),
    ("float", [1, 0.5], [True, "x", None]),
    ("bool", [True], [1, "true", None]),
    ("str", ["x"], [1, True, None]),
    ("bool | int", [True, 1], [1.5]),
    ("int | None", [1, None], ["x", 1.5]),
    ("Optional[int]", [1, None], ["x"]),
    ("Union[int, str]", [1, "x"], [1.5]),
    ("'int | None'", [1, None], ["x"]),
    ("None", [None], [0]),
    ("str | Path", ["x"], [1]),
    ("typing.Literal['a', 'b', 1]", ["a", 1], ["c", True, 1.0, None]),
    ("tuple[int, int]", [[1, 2]], [[1], [1, 2, 3], [1, "x"], 1]),
    ("tuple[int, ...]", [[], [1, 2, 3]], [[1, "x"], "x"]),
    ("list[float]", [[1, 0.5]], [["x"], "x", {}]),
    ("Sequence[int] | int", [[1], 1], ["x", ["x"]]),
    ("dict[str, int]", [{"a": 1}], [{"a": "x"}, [1]]),
    ("float | Tensor", [1.0], ["x", None]),
    ("nn.Module | None", [None], [1]),
    ("Tensor", [1, "x"], []),  # nothing is known: the constructor will tell
    ("SomeAlias | None", [1, "x", None], []),
    ("Any", [1, None, {}], []),
    ("Annotated[int, 'pixels']", [1], ["x"]),
    ("tuple", [[1, "x"]], [1]),
]


@pytest.mark.parametrize("annotation, right, wrong", FITS, ids=[f[0] for f in FITS])
def test_fits(annotation: str, right: list, wrong: list) -> None:
    node = ast.parse(annotation, mode="eval").body
    assert [v for v in right if not fits(v, node)] == []
    assert [v for v in wrong if fits(v, node)] == []


FLOATED = [
    ("float", 1, 1.0),
    ("float | None", 0, 0.0),
    ("int | float", 1, 1),
    ("Literal[0] | float", 0, 0),
    ("bool | float", True, True),
    ("float | SomeAlias", 1, 1),  # it may be an int that the alias means
    ("tuple[float | Tensor, float | Tensor]", [0, 0.9], [0.0, 0.9]),
    (
        "tuple[float | Tensor, float | Tensor]",
        [0, {"from": 0, "to": 1, "until": 1}],
        [0.0, {"from": 0.0, "to": 1.0, "until": 1}],
    ),
    ("tuple[int, float]", [1, 1], [1, 1.0]),
    ("tuple[float, ...]", [1, 2], [1.0, 2.0]),
    ("Sequence[float] | float", [1], [1.0]),
    ("dict[str, float]", {"a": 1}, {"a": 1.0}),
    ("dict[str, list[float]]", {"a": [1]}, {"a": [1.0]}),
    ("float | Annealed", {"from": 1, "to": 0, "shape": "cosine"}, {"from": 1.0, "to": 0.0, "shape": "cosine"}),
    ("list", [1], [1]),
    ("Any", 1, 1),
    (None, 1, 1),
]


@pytest.mark.parametrize("annotation, value, means", FLOATED, ids=[f"{f[0]}: {f[1]}" for f in FLOATED])
def test_an_int_where_only_a_float_is_meant_is_a_float(annotation, value, means) -> None:
    found = floated(value, annotation and ast.parse(annotation, mode="eval").body)
    assert repr(found) == repr(means)  # 1 == 1.0, and their texts differ


@pytest.mark.parametrize(
    "on",
    [
        ["optimizer.betas=[0,0.9]"],
        ["+optimizer.overrides.discriminator.betas=[0,0.9]"],
        ["optimizer.betas=[0,{from: 0, to: 0.9}]"],
        ["optimizer.eps=1", "optimizer.weight_decay=0"],
        ["optimizer=sgd", "optimizer.lr=1", "optimizer.momentum=0"],
        ["penalty=r1", "loss.penalties.r1.gamma=3"],
        ["stabilizer=ada", "loss.stabilizers.ada.target=0"],
    ],
)
def test_ints_do_for_floats_in_every_node_of_a_run(on, tmp_path) -> None:
    assert run(tmp_path, "images=16", *on)
    text = (tmp_path / "config.yaml").read_text()
    for key in ("betas", "eps", "weight_decay", "momentum", "gamma", "target"):
        assert not re.search(rf"\b{key}:(\n *-)? \d+$", text, re.M), key


@pytest.mark.parametrize("on", ["data=fake data.validation=20", "data=folder data.root=x data.test=20"])
def test_an_int_that_means_something_else_than_a_float_stays_one(on) -> None:
    """A count of images beside a share of them: annotated ``int | float``."""
    data = compose("train", on.split()).data
    assert repr(data.get("test" if "test" in on else "validation")) == "20"


def test_an_int_beyond_floats_is_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match="optimizer.lr=1000.*is too large") as error:
        compose("train", ["optimizer.lr=1" + 400 * "0"])
    assert len(str(error.value)) < 120


def test_no_annotation_fits_everything() -> None:
    assert fits(1, None) and fits("x", None) and fits(None, None)


def test_constants_are_read_from_the_class_or_its_nearest_base(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "constants_here.py").write_text(
        "from gancli.models.base import Adversarial\n"
        "class Own(Adversarial):\n    views = ('own',)\n"
        "class Tuple(Adversarial):\n    sampled, views = ('net',), ('both', 'grid')\n"
        "class Typed(Own):\n    views: tuple[str, ...] = ('typed',)\n"
        "class Child(Own): pass\n"
        "class Computed(Own):\n    views = tuple('ab')\n"
    )
    found = {
        name: targets.constant(f"constants_here.{name}", "views")
        for name in ("Own", "Tuple", "Typed", "Child", "Computed")
    }
    assert found == {
        "Own": ("own",), "Tuple": ("both", "grid"), "Typed": ("typed",), "Child": ("own",), "Computed": None,
    }  # fmt: skip
    assert targets.constant("constants_here.Own", "no_such_attribute") is None
