"""What a class accepts, read from its source without an import: signatures, annotations, constants."""

import ast
import re

import pytest
import torch
from helpers import compose, run

from gancli.config import targets
from gancli.config.annotations import fits, floated
from gancli.config.targets import signature
from gancli.errors import UsageError

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


ALIASES = """
from typing import Annotated, Literal, TypeAlias
Way = Literal["up", "down"]
Often: TypeAlias = Annotated[int, ">= 1"]
Both = Way | Often | None
class Kind: ...
"""


def test_aliases_are_checked_as_what_they_stand_for(cli, package) -> None:
    """Those of the module, of others by either import, aliases of aliases, and inside lists."""
    source = (
        "from . import other\nfrom .other import Both, Kind, Often, Way as How\nOwn = list[How]\n"
        "class C:\n  def __init__(self, a: How, b: Both, c: Own, d: other.Often, e: Kind): ..."
    )
    canary = package("aliased", module=source, other=ALIASES)
    found = {key: each.annotation for key, each in signature("aliased.module.C").parameters.items()}
    texts = [ast.unparse(each) for each in found.values()]
    way, often = "Literal['up', 'down']", "Annotated[int, '>= 1']"
    assert texts == [way, f"{way} | {often} | None", f"list[{way}]", often, "Kind"]
    assert fits("up", found["a"]) and not fits("left", found["a"])
    assert fits(["up"], found["c"]) and not fits(["left"], found["c"])
    package("endless", module="A = A | B\nB = list[A]\nclass C:\n  def __init__(self, a: A): ...")
    assert signature("endless.module.C").parameters["a"].annotation is not None
    assert not canary.exists(), "nothing is imported"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model=stylegan", "model.constant=foo"], "model.constant: expected Literal['ones', 'normal'], got 'foo'"),
        (["model=vqvae", "model.autoencoder=2"], "model.autoencoder=2: must be above 0 and below 1"),
        (["data=folder", "data.root=.", "data.decode=foo"], "data.decode: expected Literal['auto', 'once', 'access']"),
    ],
)
def test_a_value_that_an_alias_does_not_allow_is_refused_in_one_line(words, said, cli) -> None:
    answer = cli("train", *words, "images=16")  # which is soon done if nothing is refused
    assert answer.code == 2 and said in answer.err and len(answer.err.splitlines()) == 1


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
