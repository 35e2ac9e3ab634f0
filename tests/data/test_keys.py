"""The key in a message is the key that the user would type, also of data sets within data sets."""

import re

import pytest
from helpers import compose
from PIL import Image

from gancli import config
from gancli.data.keys import chosen, typed, within
from gancli.errors import UsageError


def test_names_of_settings_and_choices():
    assert (typed("size"), chosen("mnist")) == ("data.size", "data=mnist")
    with within("data.a"), pytest.raises(ZeroDivisionError), within(typed("of")):
        assert (typed("size"), chosen("mnist")) == ("data.a.of.size", "data/a/of=mnist")
        raise ZeroDivisionError
    assert typed("size") == "data.size"


@pytest.fixture
def folders(tmp_path):
    for name, sizes in (("plain", (8, 8)), ("mixed", (8, 11)), ("empty", ()), ("few", (8,))):
        (tmp_path / name).mkdir()
        for i, size in enumerate(sizes):
            Image.new("RGB", (size, size)).save(tmp_path / name / f"{i}.png")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "0.png").write_text("no picture")
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "cat").mkdir()
    for name in ("0.png", "cat/1.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / "beside" / name)
    return tmp_path


SIDES = ["data=unpaired", "data/a=folder", "data/b=folder"]
FAULTS = {
    "data.{side}.root=.*nowhere: no such folder.*: data.{side}.root=~/my-images": ("root", "nowhere"),
    "mixed: images of different sizes.*add data.{side}.size=64": ("root", "mixed"),
    "data.{side}.root=.*empty: no images": ("root", "empty"),
    "data.{side}.layout=flat": ("root", "beside"),
    "data.{side}.validation=7: only": ("validation", 7),
    "data.{side}.size=-1": ("size", -1),
    "data.{side}.channels=2": ("channels", 2),
    "data.{side}.crop='left'": ("crop", "left"),
    "data.{side}.on_error='hope'": ("on_error", "hope"),
}


def read(words):
    source, _ = config.build_data(compose("train", [*words, "runtime=cpu"]).data)
    return source.split("train")


@pytest.mark.parametrize("side", "ab")
@pytest.mark.parametrize("says", FAULTS)
def test_faults_of_one_of_two_data_sets_name_its_keys(folders, says, side):
    key, value = FAULTS[says]
    roots = [f"data.{each}.root={folders / 'plain'}" for each in "ab"]
    words = [*SIDES, *roots, "data.a.validation=0", "data.b.validation=0"]
    value = folders / value if key == "root" else value
    words = [w for w in words if not w.startswith(f"data.{side}.{key}=")] + [f"data.{side}.{key}={value}"]
    with pytest.raises(UsageError, match=says.format(side=side)) as error:
        read(words)
    other = {"a": "b", "b": "a"}[side]
    assert not re.search(rf"data\.(?!{side}\.)|data[./]{other}", str(error.value).replace(str(folders), ""))


@pytest.mark.parametrize("kind", ["edges", "stacked"])
def test_so_do_those_of_data_that_are_made_of_others(folders, kind):
    inner, words = {
        "edges": ("data.of", ["data=edges", "data/of=folder", f"data.of.root={folders / 'mixed'}"]),
        "stacked": ("data.source", ["data=stacked_mnist", "data.source.validation=-1"]),
    }[kind]
    with pytest.raises(UsageError, match=re.escape(inner)):
        read(words)


def test_two_folders_are_two_choices_in_the_notes(folders):
    words = [*SIDES, *(f"data.{each}.root={folders / 'plain'}" for each in "ab")]
    source, _ = config.build_data(compose("train", [*words, "runtime=cpu"]).data)
    with pytest.raises(UsageError, match="data/a=folder has no"):
        source.split("validation")
