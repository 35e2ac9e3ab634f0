"""Saved configs from strangers: what gancli never writes is refused, in one line and without being followed."""

import pytest
import yaml
from omegaconf import OmegaConf

from gancli import config
from gancli.config import plain_yaml
from gancli.errors import UsageError

BOMB = "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10))
REFUSED = {
    "anchors inside each other": (BOMB, "it has anchors"),
    "one anchor": ("a: &x 1\nb: 2\n", "it has anchors"),
    "an anchor of itself": ("a: &x [*x]\n", "it has anchors"),
    "a tag": ("a: !!python/object/apply:os.system [ls]\n", "it has the tag"),
    "a path": ("a: !!python/object/apply:pathlib.Path [/etc]\n", "it has the tag"),
    "the environment": ("a: ${oc.env:HOME}\n", "'${oc.env:HOME}' is not a value"),
    "an interpolation": ("a: 1\nb: ['${a}${a}']\n", "is not a value"),
    "of itself": ("a: ${a}\n", "is not a value"),
    "in a key": ("${a}: 1\n", "is not a value"),
    "a missing value": ("a: '???'\n", "is not a value"),
    "a deep text": ("a: " + "[" * 3000 + "]" * 3000, "nesting"),
    "a deep mapping": ("a: " + "{a: " * 40 + "1" + "}" * 40, "levels deep"),
    "a long text": ("a: " + "x" * 2**20, "characters"),
    "no YAML": ("a: [", "cannot be read"),
    "a control character": ("a: \x00", "cannot be read"),
    "a list": ("[1, 2]", "it has no keys"),
    "keys twice": ("a: 1\na: 2\n", "duplicate key"),
    "samples of another shape": ("samples: {views: 3}\nmodel: x\nsamples2: [1]\ndata: {_target_: x}\n", ""),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_gancli_never_writes_is_refused(what: str) -> None:
    text, said = REFUSED[what]
    if not said:
        config.from_yaml(text)
        return
    with pytest.raises(UsageError) as error:
        config.from_yaml(text)
    assert said in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 200


def test_every_composed_config_is_written_as_omegaconf_does_and_comes_back() -> None:
    for verb in ("train", "eval", "sample"):
        cfg = config.compose(verb, {"train": [], "eval": ["ckpt=x"], "sample": ["ckpt=x"]}[verb])
        assert config.to_yaml(cfg) == OmegaConf.to_yaml(cfg) and config.from_yaml(config.to_yaml(cfg)) == cfg


HARD = [
    "", "No", "on", "Y", "1_0", "1e5", "1e-5", "1.", ".5", "+1", "nan", "-inf", "0x10", "null", "~", "1:30",
    "2020-01-01", "- a", "a: b", "key:", "#x", "a #b", " a", "a ", "it's", '"', "[a]", "{a}", "&a", "*a", "!a", "%a",
    "@a", "`a", "=", "<<", "a,b", "? a", "|", ">", "a\nb", "a\n", "\n", "a\tb", "a\\b", "\x7f", "é", "日本",
    "word " * 40, "/long/" * 30,
]  # fmt: skip
ESCAPED = ["😀", "\x85", 'a "quoted" line that is long enough to be broken, \n' * 3]  # where the two differ


@pytest.mark.parametrize("text", HARD + ESCAPED)
def test_a_text_is_written_as_omegaconf_does_and_comes_back(text: str) -> None:
    values = {"a": text, "b": [text, {"c": text, "d": None}, 1.5, 1e-7, 3, True], "e": {}, "f": []}
    written = plain_yaml.dump(values)
    assert (written == OmegaConf.to_yaml(OmegaConf.create(values))) == (text not in ESCAPED)
    assert OmegaConf.create(written) == values and yaml.safe_load(written)["a"] == text


@pytest.mark.parametrize("text", ["model: {_target_: 3}", "a: [{b: {_target_: [x]}}]", "loss: {_target_: null}"])
def test_a_target_is_a_name(text: str) -> None:
    with pytest.raises(UsageError, match="is not the name of a class"):
        config.from_yaml(text)
