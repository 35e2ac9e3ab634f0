"""One value where a list is meant: of a verb's key, of an argument, in a sweep."""

import pytest

from gancli import config
from gancli.config import composition
from gancli.errors import UsageError


@pytest.mark.parametrize(
    "verb, word, key, value",
    [
        ("train", "eval.metrics=kid", "eval.metrics", ["kid"]),
        ("train", "trust=yaml", "trust", ["yaml"]),
        ("train", "samples.views=grid", "samples.views", ["grid"]),
        ("train", "samples.views=null", "samples.views", None),
        ("eval", "metrics=[fid,kid]", "metrics", ["fid", "kid"]),
        ("eval", "metrics=mypackage.scores.Mine", "metrics", ["mypackage.scores.Mine"]),
        ("report", "+metrics=fid", "metrics", ["fid"]),
    ],
)
def test_one_value_is_a_list_of_one(verb: str, word: str, key: str, value: list[str] | None) -> None:
    needed = {"eval": ["ckpt=x"], "report": ["runs=x"], "train": ["samples.every=1k"]}[verb]
    word = word.removeprefix("+")
    assert config.OmegaConf.select(config.compose(verb, [*needed, word]), key) == value


def test_arguments_that_are_lists_too() -> None:
    cfg = config.compose("train", ["stabilizer=diffaugment", "loss.stabilizers.diffaugment.policy=color"])
    assert cfg.loss.stabilizers.diffaugment.policy == ["color"]
    assert config.compose("train", ["data=gaussians_1d", "data.means=2", "data.stds=1"]).data.means == [2]
    with pytest.raises(UsageError, match="policy: expected list"):
        config.compose("train", ["stabilizer=diffaugment", "loss.stabilizers.diffaugment.policy=3"])


def test_values_of_a_sweep_are_lists_of_one_each() -> None:
    assert composition.with_lists("eval", ["metrics=fid,kid"], sweep=True) == ["metrics=[fid],[kid]"]
    kept = ["metrics=[fid],[kid]", "metrics='[fid]'", "split=test", "metrics=${oc.env:X}", "metrics=null", "~metrics"]
    assert composition.with_lists("eval", kept, sweep=True) == kept


def test_without_a_sweep_several_values_are_still_explained(cli) -> None:
    assert "or write 'metrics=[fid,kid]' for a list" in cli("eval", "images=x", "data=digits", "metrics=fid,kid").err
