"""Yaml by libyaml and from memory is what OmegaConf reads, and a config is written as OmegaConf writes it."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf
from yaml import YAMLError

from gancli.config import conf_dir, plain_yaml, reading

SPECIAL = """\
floats: [1e-4, 1E5, .5, -1., .inf, .nan, 1_000, 1e, 0x1f, 0o17, 017, 1:30]
words: [yes, off, ~, null, "1", '2.0', 2020-01-01, "${oc.env:HOME}", '???', é, "😀", "a: b"]
folded: >
  one
  two
kept: |
  one
   two
merged: &anchor {a: 1}
again: {<<: *anchor, b: [*anchor]}
1: one
true: yes
"""


def same(text: str) -> bool:
    found, expected = (reading.created(text, lambda: None), OmegaConf.create(text))
    plain = [repr(OmegaConf.to_container(each, resolve=False)) for each in (found, expected)]
    return plain[0] == plain[1] and OmegaConf.to_yaml(found) == OmegaConf.to_yaml(expected)


def test_every_file_of_conf_is_read_as_omegaconf_reads_it() -> None:
    files = sorted(conf_dir().rglob("*.yaml"))
    assert len(files) > 100 and [file for file in files if not same(file.read_text(encoding="utf-8"))] == []


def test_special_values_too() -> None:
    assert same(SPECIAL) and same("{}")


@pytest.mark.parametrize(
    "text", ["a: 1\na: 2\n", "a: [1\nb: 2\n", "a: b: c\n", "a: !!python/name:os.system x\n", "\t\n"]
)
def test_errors_are_omegaconfs(text: str, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text)
    messages = []
    for load in (OmegaConf.load, reading.Kept.load):
        with pytest.raises(YAMLError) as error, file.open() as opened:
            load(opened)
        messages.append(str(error.value))
    assert messages[0] == messages[1] and str(file) in messages[0]


@pytest.mark.parametrize("text", ["", "word", "[1, 2]"])
def test_what_is_no_mapping_is_left_to_omegaconf(text: str, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with file.open() as opened, file.open() as again:
        assert reading.Kept.load(opened) == OmegaConf.load(again)


def test_a_config_is_not_shared_and_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"

    def load() -> dict:
        with file.open() as opened:
            return reading.Kept.load(opened)

    file.write_text("a: {b: 1}")
    load().a.b = 2
    assert load() == {"a": {"b": 1}}
    file.write_text("a: {b: 3}")
    assert load() == {"a": {"b": 3}}


@pytest.mark.parametrize(
    "values", [{"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1.0, "b": 2}, {"a": True, "b": [None, "é", "1"]}]
)
def test_a_text_is_kept_for_its_own_values_alone(values: dict) -> None:
    for each in ({"a": 1, "b": 2}, values, values):
        assert plain_yaml.written(each) == OmegaConf.to_yaml(OmegaConf.create(each))
