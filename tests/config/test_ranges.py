"""The ranges of numbers: of every argument that a yaml can give, and of every key of a verb."""

import ast
import math
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
import yaml
from conftest import ROOT

from gancli import config
from gancli.config import targets
from gancli.config.annotations import beyond, fits, out_of_range
from gancli.config.check import check_arguments, check_target
from gancli.errors import UsageError
from gancli.verbs import VERBS
from gancli.verbs.base import leaves


def every_target() -> list[str]:
    """Return the classes of gancli that the shipped options name."""
    found = (yaml.safe_load(file.read_text()) or {} for file in (ROOT / "conf").rglob("*.yaml"))
    names = {str(node["_target_"]) for node in found if isinstance(node, dict) and "_target_" in node}
    return sorted(name for name in names if name.startswith("gancli."))


NUMBERS = [
    (target, key)
    for target in every_target()
    for key, parameter in targets.signature(target).parameters.items()
    if parameter.annotation is not None and fits(1, parameter.annotation) and not fits(object(), parameter.annotation)
]


def refused(target: str, key: str, value: Any) -> str:
    """Return what is said of a value of an argument, empty if it is accepted."""
    others = [name for name in targets.signature(target).parameters if name != key]
    try:
        check_target({"_target_": target, key: value}, others, ())
    except UsageError as error:
        return str(error)
    return ""


def test_there_are_many_numbers() -> None:
    assert len(NUMBERS) > 150


@pytest.mark.parametrize("target, key", NUMBERS)
def test_every_number_of_every_option_has_a_range(target: str, key: str) -> None:
    assert all(refused(target, key, value) for value in (math.inf, -math.inf, math.nan, 10**30, -(10**30)))
    annotation = targets.signature(target).parameters[key].annotation
    signed = any(word in ast.unparse(annotation) for word in ("'signed'", ">= -1"))
    assert signed or refused(target, key, -1)


@pytest.mark.parametrize(
    "override, said",
    [
        ("model.blocks=-1", "model.blocks=-1: must be 0 or more"),
        ("model.blocks=2000000000", "at most 1000"),
        ("model.head=0", "model.head=0: must be 1 or more"),
        ("schedule.warmup=1e30", "schedule.warmup: expected"),
        ("optimizer.lr=inf", "optimizer.lr=inf: must be a finite number"),
        ("optimizer.overrides.net.lr=nan", "optimizer.overrides.net.lr=nan: must be a finite number"),
        ("optimizer.betas=[0.9,inf]", "must be a finite number"),
        ("optimizer.lr={from: inf, to: 0.1}", "optimizer.lr.from=inf: must be a finite number"),
        ("data.workers=100000", "data.workers=100000: must be 0 or more and at most 1024"),
        ("runtime.threads=100000", "runtime.threads=100000: must be from 1 to 1,024"),
        ("batch_size=2000000000", "batch_size=2000000000: must be from 1 to 1,048,576"),
        ("epochs=100000000", "epochs=100000000: must be from 1 to 1,000,000"),
        ("clip=inf", "clip=inf: must be a finite number"),
        ("samples.every=-1", "samples.every: expected a number of images"),
        ("images=1e30", "images: expected a number of images"),
    ],
)
def test_absurd_numbers_are_refused_by_their_key(override: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        config.compose("train", ["model=pixelcnn", override])
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("gamma", ["-1", "{from: -1, to: 1}", "{from: 1, to: -1}"])
def test_penalties_are_not_negative_at_any_time(gamma: str) -> None:
    with pytest.raises(UsageError, match=r"loss\.penalties\.r1\.gamma=.*must be 0 or more"):
        config.compose("train", ["penalty=r1", f"loss.penalties.r1.gamma={gamma}"])


@pytest.mark.parametrize("value", [math.inf, math.nan, 0, -1])
def test_a_temperature_is_a_positive_number(value: float) -> None:
    with pytest.raises(UsageError, match="sampling.temperature"):
        check_arguments({"temperature": value}, "gancli.models.pixelcnn.PixelCNN", "set_sampling", "sampling")


@pytest.mark.parametrize("verb", VERBS)
def test_every_count_of_a_verb_is_bounded(verb: str) -> None:
    """A size that is allocated or counted off at once has an upper bound; numbers of images are a clock."""
    for name, each in leaves(VERBS[verb].keys):
        if each.type in (int, int | None, float, float | None) and not is_dataclass(each.type):
            declared = each.metadata.get("range")
            assert declared is not None and not declared.allows(-1), name
    assert fields(VERBS[verb].keys)


def test_annotations_say_what_is_allowed() -> None:
    def said(value: Any, annotation: str) -> str | None:
        return out_of_range(value, ast.parse(annotation, mode="eval").body)

    positive = 'Annotated[int, ">= 1", "<= 9"]'
    assert said(0, positive) == "must be 1 or more and at most 9"
    assert said(0, f"{positive} | None") and said(None, f"{positive} | None") is None
    assert said(0.5, 'Annotated[float, "> 0", "< 1"]') is None
    assert said(1, 'typing.Annotated[int, "< 1"] | str') == "must be below 1"
    assert said(1, 'Annotated[int, "< 1"] | float') is None, "one member of a union is enough"
    assert said([1, 0], f"list[{positive}]") and said((1, 0), f"tuple[{positive}, int]") is None
    assert said({"a": 0}, f"dict[str, {positive}]")
    assert said({"from": 1, "to": 0}, 'Annotated[float, "> 0"] | Annealed')
    assert said(-1, "mypackage.Mine") is None and said(True, positive) is None
    assert beyond(2**63, ()) == "is too large"
