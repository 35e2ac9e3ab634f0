"""The structure of what was read from a file, against shapes."""

import json
import math

import pytest

from gancli.structure import STATUS, Misshapen, Real, check, matches, read_json, read_rows

FITS = [
    (1, int), (1, float), (1.5, float), ("a", str), (True, bool), (None, None), (None, (int, None)), ([], [int]),
    ([1, 2], [int]), ({}, {str: int}), ({"a": 1}, {str: int}), ({"a": 1, "z": "more"}, {"a": int, "b?": str}),
    (math.nan, Real), ([1], object), ({"a": [{"b": 1}]}, {"a": [{"b": int}]}),
]  # fmt: skip
DIFFERS = [
    (True, int), (True, float), (1, bool), (1.5, int), (math.nan, float), (math.inf, float), ("1", int), (1, str),
    (None, int), ("a", (int, None)), ({}, [int]), (["a"], [int]), ([], {str: int}), ({"a": "x"}, {str: int}),
    ({1: 1}, {str: int}), ({}, {"a": int}), ({"a": 1, "b": 2}, {"a": int, "b?": str}), (0, None), (True, Real),
]  # fmt: skip


@pytest.mark.parametrize("value, shape", FITS)
def test_what_fits(value, shape):
    check(value, shape)


@pytest.mark.parametrize("value, shape", DIFFERS)
def test_what_differs(value, shape):
    assert not matches(value, shape)


def test_the_message_names_the_place():
    with pytest.raises(Misshapen, match=r"^card.values.fid: expected a number$"):
        check({"values": {"fid": "x"}}, {"values": {str: Real}}, "card")
    with pytest.raises(Misshapen, match=r"^a\[1\]: expected the key b$"):
        check({"a": [{"b": 1}, {}]}, {"a": [{"b": int}]})


@pytest.mark.parametrize("text", ["", "[]", "{", "nul", "[" * 100_000, '{"state": 3}', '{"state": "done", "job": "x"}'])
def test_a_file_of_another_shape_is_as_none(text, tmp_path):
    (tmp_path / "status.json").write_text(text)
    assert read_json(tmp_path / "status.json", STATUS) is None
    assert read_json(tmp_path / "missing.json", STATUS) is None


def test_rows_end_at_the_first_that_is_none(tmp_path):
    good = [{"images": 8, "loss/x": 1.0}, {"images": 16, "eval/nll": math.inf}]
    for bad in ("[1]", '{"loss/x": 1}', '{"images": "8"}', '{"images": 8, "loss/x": "y"}', '{"images": 8, "lo'):
        text = "".join(json.dumps(row) + "\n" for row in good)
        (tmp_path / "metrics.jsonl").write_text(f"{text}{bad}\n{text}")
        assert list(read_rows(tmp_path / "metrics.jsonl")) == good
