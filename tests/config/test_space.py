"""Spaces of a search, in Hydra's grammar of sweeps."""

import pytest

from gancli.config.space import Choice, Number, split
from gancli.errors import UsageError


@pytest.mark.parametrize("value, axis", [
    ("interval(1e-5,1e-3)", Number(1e-5, 1e-3, log=True)),
    ("interval(1,9)", Number(1.0, 9.0)),
    ("interval(0,1000)", Number(0.0, 1000.0)),
    ("tag(linear,interval(1,99))", Number(1.0, 99.0)),
    ("tag(log,interval(1,2))", Number(1.0, 2.0, log=True)),
    ("int(interval(16,128))", Number(16, 128, whole=True)),
    ("int(interval(1,128))", Number(1, 128, log=True, whole=True)),
    ("range(1,6)", Number(1, 5, whole=True)),
    ("range(6,0,-2)", Number(2, 6, whole=True, step=2.0)),
    ("range(0.0,1,0.25)", Number(0.0, 0.75, step=0.25)),
    ("choice(hinge,nonsaturating)", Choice(("hinge", "nonsaturating"))),
    ("16,32,16", Choice(("16", "32"))),
    ("[0.0,0.9],[0.5,0.999]", Choice(("[0.0,0.9]", "[0.5,0.999]"))),
    ("'a b',null", Choice(("'a b'", "null"))),
])  # fmt: skip
def test_what_is_searched(value: str, axis: Number | Choice) -> None:
    assert split(["seed=1", f"x.y={value}", "+model=dcgan"]) == (["seed=1", "+model=dcgan"], {"x.y": axis})


@pytest.mark.parametrize("word, says", [
    ("lr=interval(2,1)", "lr=interval(2,1): the interval is empty"),
    ("lr=tag(log,interval(0,1))", "a logarithmic scale needs numbers above 0"),
    ("lr=tag(cubic,interval(1,2))", "tag cubic is not known; allowed is one of log, linear"),
    ("lr=tag(log,linear,interval(1,2))", "tag linear, log is not known"),
    ("n=range(1,2)", "the range has 1 values; name two or more"),
    ("loss=glob(*)", "list the options, such as loss=choice(a,b)"),
])  # fmt: skip
def test_what_cannot_be_searched_is_said_in_a_line(word: str, says: str) -> None:
    with pytest.raises(UsageError, match=says.replace("(", r"\(").replace(")", r"\)").replace("*", r"\*")):
        split([word])


def test_the_last_of_equal_keys_counts() -> None:
    assert split(["lr=interval(1,2)", "lr=3"]) == (["lr=3"], {})
    assert split(["lr=3", "lr=interval(1,2)"]) == ([], {"lr": Number(1.0, 2.0)})


def test_values_are_typed_as_hydra_reads_them() -> None:
    assert Number(1e-5, 1e-3).word(0.000123456789) == "0.000123457" and Number(1, 9, whole=True).word(3) == "3"
    assert Number(0.0, 0.75, step=0.25).values() == [0.0, 0.25, 0.5, 0.75] and Number(0, 1).values() is None
    assert Number(2, 6, whole=True, step=2.0).values() == [2, 4, 6]
    assert Number(1e-5, 1e-3, log=True).told() == "1e-05 to 0.001, logarithmic"
    assert Number(2, 6, whole=True, step=2.0).told() == "2 to 6 in steps of 2"
