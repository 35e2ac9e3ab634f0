"""The mutation script: what it changes, and that it tells a noticed change from one that is not."""

import ast

import pytest
from mutants import Mutant, killed, mutants, sample

SOURCE = "def f(a, b=2):\n    log(a)\n    if a < b and True:\n        return a + b\n    return None\n"


def test_every_kind_of_change_is_made_once():
    found = {(each.line, each.before, each.after) for each in mutants(SOURCE)}
    assert found == {
        (1, "2", "3"),
        (2, "log(a)", "None"),
        (3, "a < b", "a >= b"),
        (3, "a < b and True", "a < b or True"),
        (3, "True", "False"),
        (3, "if a < b and True:", "if not (a < b and True):"),
        (4, "return a + b", "return None"),
        (4, "a + b", "a - b"),
    }
    assert all(ast.unparse(ast.parse(each.text)) != ast.unparse(ast.parse(SOURCE)) for each in mutants(SOURCE))


def test_a_sample_is_a_function_of_its_seed(tmp_path):
    file = tmp_path / "f.py"
    file.write_text(SOURCE)
    one, again, other = (sample([file], 4, seed) for seed in (1, 1, 2))
    assert one == again != other and len(sample([file], 99, 0)) == 8


@pytest.mark.parametrize("text, dead", [("def f():\n    return 2\n", True), ("def f():\n    return 1 + 0\n", False)])
def test_a_mutant_is_killed_by_a_test_that_fails(text, dead, tmp_path, monkeypatch):
    (tmp_path / "f.py").write_text("def f():\n    return 1\n")
    (tmp_path / "test_f.py").write_text("from f import f\n\ndef test_f():\n    assert f() == 1\n")
    monkeypatch.setattr("mutants.ROOT", tmp_path)
    assert killed(tmp_path, tmp_path / "f.py", Mutant(2, "1", "?", text), ["test_f.py"]) is dead
    assert (tmp_path / "f.py").read_text() == "def f():\n    return 1\n"
