"""What a config from a stranger may build: what annotations name, with constructors that touch nothing outside."""

import ast
import sys
from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

import gancli
from gancli import config
from gancli.config import kinds, targets
from gancli.config.check import check_nodes
from gancli.data.source import Source
from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.lectures.base import Lecture
from gancli.losses.base import Loss
from gancli.metrics.base import Metric
from gancli.metrics.features import Features
from gancli.models.base import Model
from gancli.nn.likelihoods import Likelihood
from gancli.training.schedules import Schedule
from gancli.views.base import View

# What gancli asks instantiate() for.
TOP = (Model, Loss, Source, Features, Schedule, Lecture, View, Metric, torch.optim.Optimizer)
EVENTS: list[tuple[str, Any]] = []
OUTSIDE = ("socket.", "subprocess.", "os.", "shutil.", "tempfile.", "urllib.", "ftplib.", "http.", "glob.", "ctypes.dl")
HARMLESS = ("os.listdir", "os.scandir", "os.putenv", "os.unsetenv")  # imports look into folders


def _listen(event: str, args: tuple[Any, ...]) -> None:
    if EVENTS and (event == "open" or event.startswith(OUTSIDE)) and event not in HARMLESS:
        EVENTS.append((event, args))


@cache
def audited() -> None:
    sys.addaudithook(_listen)  # stays for the whole process; it notes nothing while EVENTS is empty


@cache
def own_classes() -> dict[str, ast.ClassDef]:
    """Return every class of gancli by its dotted name."""
    package = Path(gancli.__file__).parent
    found = {}
    for file in sorted(package.rglob("*.py")):
        name = ".".join(file.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")
        tree = ast.parse(file.read_text(encoding="utf-8"))
        found |= {f"{name}.{node.name}": node for node in tree.body if isinstance(node, ast.ClassDef)}
    return found


def of_kind(target: str, allowed: list[str]) -> bool:
    try:
        kinds.check(target, allowed)
    except UsageError:
        return False
    return True


@cache
def nameable() -> list[str]:
    """Return the classes of gancli that a config can name: those asked for, and those that annotations of them name."""
    allowed = [f"{each.__module__}.{each.__qualname__}" for each in TOP]
    found: dict[str, None] = {}
    while new := [name for name in own_classes() if name not in found and of_kind(name, allowed)]:
        found |= dict.fromkeys(new)
        parameters = [p for name in new for p in targets.signature(name).parameters.values()]
        allowed += [name for parameter in parameters for name in kinds.named(parameter)]
    return sorted(found)


def argument(name: str, annotation: ast.expr | None, canary: Path) -> Any:
    """Return something that a constructor may get: every text is the path of a file that must stay as it is."""
    text = ast.unparse(annotation) if annotation else ""
    if name == "spec":
        return ImageSpec(1, 8, 8, num_classes=3)
    if "Likelihood" in text:
        return partial(_first(Likelihood), levels=2)
    if "Literal" in text:
        return ast.literal_eval(text[text.index("Literal[") + 8 : text.index("]")].partition(",")[0])
    for word, value in (("Source", None), ("dict", {}), ("tuple", (0.5, 0.5)), ("Sequence", [2]), ("list", [2])):
        if word in text:
            return value
    known = {"int": 2, "float": 0.5, "bool": False, "str": str(canary), "Path": canary}
    return next((value for word, value in known.items() if word in text), str(canary))


def _first(kind: type) -> Callable[..., Any]:
    return next(each for each in kind.__subclasses__() if not each.__abstractmethods__)


@pytest.mark.parametrize("given", ["required", "all"])
@pytest.mark.parametrize("target", nameable())
def test_no_constructor_of_a_config_touches_anything_outside(target: str, given: str, tmp_path: Path) -> None:
    module, _, name = target.rpartition(".")
    built, canary = getattr(import_module(module), name), tmp_path / "canary"
    canary.write_text("as it was")
    taken = targets.signature(target).parameters
    arguments = {
        key: argument(key, each.annotation, canary) for key, each in taken.items() if each.required or given == "all"
    }
    audited()
    EVENTS.append(("start", ()))
    try:
        built(**arguments)
    except (UsageError, ValueError, TypeError, AttributeError, KeyError, RuntimeError):  # refused, or abstract
        pass
    finally:
        events = EVENTS[1:]
        EVENTS.clear()
    assert [each for each in events if not str(each[1][0]).endswith((".py", ".pyc"))] == []
    assert canary.read_text() == "as it was" and list(tmp_path.iterdir()) == [canary]


WRITER = {"_target_": "gancli.data.cache.Writer", "path": "canary", "shape": [1], "dtype": "uint8"}
NESTED = {
    "a number": {"_target_": "gancli.models.dcgan.DCGAN", "latent_dim": WRITER},
    "a list": {"_target_": "gancli.models.dcgan.DCGAN", "latent_dim": [WRITER]},
    "a list of mappings": {"_target_": "gancli.models.dcgan.DCGAN", "width": [{"x": WRITER}]},
    "a penalty": {"_target_": "gancli.losses.adversarial.Hinge", "penalties": {"r1": WRITER}},
    "a number of a penalty": {
        "_target_": "gancli.losses.adversarial.Hinge",
        "penalties": {"r1": {"_target_": "gancli.losses.penalties.R1", "gamma": WRITER}},
    },
    "a stabilizer": {"_target_": "gancli.losses.adversarial.Hinge", "stabilizers": {"x": WRITER}},
    "the penalty of a stabilizer": {
        "_target_": "gancli.losses.adversarial.Hinge",
        "stabilizers": {"x": {"_target_": "gancli.losses.penalties.R1"}},
    },
    "an adversarial loss": {"_target_": "gancli.losses.translation.CycleLoss", "adversarial": WRITER},
    "a likelihood": {"_target_": "gancli.models.pixelcnn.PixelCNN", "likelihood": WRITER},
    "a learning rate": {"_target_": "torch.optim.Adam", "_partial_": True, "lr": WRITER},
    "a module of torch": {"_target_": "gancli.models.dcgan.DCGAN", "latent_dim": {"_target_": "torch.nn.ReLU"}},
    "an argument that is not there": {"_target_": "gancli.models.dcgan.DCGAN", "nothing": WRITER},
    "a data set in a data set": {"_target_": "gancli.data.domains.Unpaired", "a": WRITER, "b": WRITER},
}


@pytest.mark.parametrize("where", NESTED)
def test_a_target_inside_another_is_of_the_kind_that_its_place_asks_for(where, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "canary").write_text("as it was")
    kind = next(kind for kind in TOP if of_kind(NESTED[where]["_target_"], [f"{kind.__module__}.{kind.__qualname__}"]))
    said = "is refused: (it is not a subclass of|nothing is to be built here)|no such key"
    with pytest.raises(UsageError, match=said):
        if kind is Source:
            config.build_data(NESTED[where])
        config.instantiate(NESTED[where], kind, **({"spec": ImageSpec(1, 8, 8)} if kind is Model else {}))
    assert (tmp_path / "canary").read_text() == "as it was"


def test_the_listener_hears_what_it_is_for(tmp_path: Path) -> None:
    audited()
    EVENTS.append(("start", ()))
    (tmp_path / "x").write_text("")
    (tmp_path / "x").unlink()
    found = [event for event, _ in EVENTS[1:]]
    EVENTS.clear()
    assert found == ["open", "os.remove"]


def test_the_classes_that_can_be_named_are_models_and_their_like() -> None:
    found = nameable()
    assert {"gancli.models.dcgan.DCGAN", "gancli.nn.likelihoods.Bernoulli", "gancli.losses.penalties.R1"} <= set(found)
    assert not {"gancli.data.cache.Writer", "gancli.training.tracker.Tracker", "gancli.console.RunProgress"} & set(
        found
    )


@pytest.mark.parametrize("value", [True, 3, "bernoulli", ["x"]])
@pytest.mark.parametrize(
    "words, key",
    [
        (["data=fake", "model=pixelcnn"], "model.likelihood"),
        (["data=fake", "model=cyclegan"], "loss.adversarial"),
        (["data=fake", "loss=hinge", "penalty=r1"], "loss.penalties.r1"),
        (["data=edges"], "data.of"),
    ],
)
def test_a_plain_value_is_no_object(words: list[str], key: str, value: Any) -> None:
    values = config.plain(config.compose("train", words))
    node, *path, last = key.split(".")
    inside = values[node]
    for each in path:
        inside = inside[each]
    inside[last] = value
    with pytest.raises(UsageError, match=f"{last}: expected a node with the _target_ of a "):
        if node == "data":
            config.build_data(values[node])
        config.instantiate(values[node], object, **({"spec": ImageSpec(1, 8, 8)} if node == "model" else {}))


def test_the_command_line_refuses_a_foreign_target_before_anything_is_built() -> None:
    words = ["data=fake", "model=dcgan", "model.latent_dim={_target_: gancli.data.cache.Writer, path: canary}"]
    with pytest.raises(UsageError, match=r"model.latent_dim._target_=gancli.data.cache.Writer is refused"):
        config.compose("train", words)
    with pytest.raises(UsageError, match=r"loss.penalties.r1._target_=gancli.models.dcgan.DCGAN is refused"):
        config.compose("train", ["data=fake", "penalty=r1", "loss.penalties.r1._target_=gancli.models.dcgan.DCGAN"])


@pytest.mark.parametrize("value", [3, "x", [1], True])
def test_overrides_of_an_optimizer_are_a_mapping(value: Any) -> None:
    values = config.plain(config.compose("train", ["data=fake"]))
    values["optimizer"]["overrides"] = value
    with pytest.raises(UsageError, match="optimizer.overrides=.*: expected networks and their arguments"):
        check_nodes(values)
