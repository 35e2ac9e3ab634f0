"""Names of folders: what they show, that no two of different settings are equal, and that no shell would quote them."""

import shlex

import pytest

from gancli.config import naming


@pytest.mark.parametrize(
    "words, swept, name",
    [
        (["model=dcgan", "seed=0", "data.root=/a b", "runtime.threads=1"], ["model", "seed"], "model-dcgan+seed-0"),
        (["seed=0", "+optimizer.lr=0.001"], ["optimizer.lr"], "lr-0.001"),
        (["model.width=4", "data/a.width=5"], ["model.width", "data/a.width"], "model.width-4+data_a.width-5"),
        (["seed=3"], [], "seed-3"),
        (["seed=-3"], ["seed"], "seed--3"),
        ([], [], "default"),
    ],
)
def test_jobs_are_named_by_what_varies(words, swept, name) -> None:
    assert naming.of_job(words, swept) == name


def test_names_are_short_where_nothing_is_known_to_vary() -> None:
    """As of hydra.sweeper.params, or of -m with single values."""
    jobs = [[*(f"model.number_{i}=0.125" for i in range(20)), f"seed={seed}"] for seed in range(3)]
    names = {naming.of_job(words, []) for words in jobs}
    assert len(names) == 3 and all(len(name) < naming.LONGEST + 8 for name in names)


def test_different_jobs_have_different_names_that_need_no_quotes() -> None:
    values = [
        "[]",
        "[r1]",
        "[r1,drift]",
        "[r1,'drift']",
        "r1",
        "r1_drift",
        "{a: 1}",
        "a b",
        "a/b",
        "~",
        "x" * 300,
        "x" * 301,
    ]
    names = [naming.of_job([f"penalty={value}"], ["penalty"]) for value in values]
    assert len(set(names)) == len(values)
    for name in names:
        assert shlex.quote(name) == name and len(name) < 250 and not set(name) & set("=,[]{}()*?~/")


def test_a_text_of_safe_characters_is_its_own_name() -> None:
    assert naming.of_text("digits-mlp_gan") == "digits-mlp_gan"
    assert len({naming.of_text(text) for text in ("a b", "a_b", "a/b", "..", ".", "", "default")}) == 7


def test_a_sweep_is_named_by_its_settings_in_any_order() -> None:
    words = ["model=dcgan,wgan", "seed=1,2", "images=200k"]
    name = naming.of_sweep("train", words, ["model", "seed"])
    assert name.startswith("model+seed-") and shlex.quote(name) == name
    assert naming.of_sweep("train", [words[2], "seed=9", *words[:2]], ["model", "seed"]) == name  # the last seed counts
    others = (("eval", words), ("train", [*words[:2], "images=201k"]), ("train", words[:2]))
    assert len({name, *(naming.of_sweep(verb, each, ["model", "seed"]) for verb, each in others)}) == 4


def test_the_newest_of_several_sweeps_goes_on(tmp_path) -> None:
    assert naming.newest(tmp_path, "seed-1") == naming.newest(tmp_path, "seed-1", new=True) == "seed-1"
    for name in ("seed-1", "seed-12", "seed-1-x", "seed-1-02"):  # of these only the first is one of its own
        (tmp_path / name).mkdir()
    assert naming.newest(tmp_path, "seed-1") == "seed-1" and naming.newest(tmp_path, "seed-1", new=True) == "seed-1-2"
    (tmp_path / "seed-1-2").mkdir()
    (tmp_path / "seed-1-10").mkdir()
    assert naming.newest(tmp_path, "seed-1") == "seed-1-10"
    assert naming.newest(tmp_path, "seed-1", new=True) == "seed-1-11"
