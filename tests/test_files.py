"""Where names from outside may land, and files that are whole or not there: ``pytest tests/test_files.py``."""

import os
from pathlib import Path

import pytest

from gancli.errors import UsageError
from gancli.files import all_inside, inside, refuse_links, replacing, short, shown
from gancli.training.guard import writing


@pytest.mark.parametrize("name", ["a.png", "a/b/c.png", "./a.png", "..a/...png", "a\nb.png", "-n.png", "ü" * 127])
def test_names_below_a_folder_land_there(tmp_path: Path, name: str) -> None:
    assert inside(tmp_path / "out", name) == tmp_path / "out" / name
    assert not (tmp_path / "out").exists()  # it only decides


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("/tmp/x.png", "names no file below"),
        ("//x.png", "names no file below"),
        ("../x.png", "names no file below"),
        ("a/../../x.png", "names no file below"),
        ("", "names no file below"),
        (".", "names no file below"),
        ("a\0b", "names no file below"),
        ("x" * 300, "at most 255 bytes"),
        ("a/" + "ü" * 128, "at most 255 bytes"),
    ],
)
def test_other_names_land_nowhere(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as error:
        inside(tmp_path, name)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_links_may_not_lead_out_of_the_folder_but_the_folder_may_be_one(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "samples").symlink_to(tmp_path / "home")
    (tmp_path / "run" / "up").symlink_to("..")
    (tmp_path / "run" / "loop").symlink_to("loop")
    (tmp_path / "run" / "own").mkdir()
    (tmp_path / "run" / "alias").symlink_to("own")
    (tmp_path / "link").symlink_to(tmp_path / "run")
    for name in ("samples", "samples/a.png", "samples/new/a.png", "up/home/a.png"):
        with pytest.raises(UsageError, match="leads to .* out of .*remove that link"):
            inside(tmp_path / "run", name)
    with pytest.raises(UsageError, match="link to itself|leads to"):
        inside(tmp_path / "run", "loop/a.png")
    for name in ("own/a.png", "alias/a.png"):
        assert inside(tmp_path / "link", name) == tmp_path / "link" / name


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["a.png", "b.png", "a.png"], "two files would be called a.png"),
        (["a.png", "a.png/b.png"], "a.png would be a file and the folder of a.png/b.png"),
        (["d/a/b/c.png", "d/a"], "d/a would be a file and the folder of d/a/b/c.png"),
        (["fine.png", "../a.png"], "names no file below"),
    ],
)
def test_all_names_are_looked_at_before_the_first_is_written(tmp_path: Path, names: list[str], says: str) -> None:
    all_inside(tmp_path, ["a.png", "b/a.png", "b.png"])
    with pytest.raises(UsageError, match=says):
        all_inside(tmp_path, names)


def test_a_folder_with_links_out_of_it_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "run" / "deep").mkdir(parents=True)
    (tmp_path / "run" / "deep" / "last.pt").symlink_to("../first.pt")
    refuse_links(tmp_path / "run")
    for name in (".lock", "metrics.jsonl", "deep/log.txt"):
        (tmp_path / "run" / name).symlink_to(tmp_path / "victim")
        with pytest.raises(UsageError, match="remove that link"):
            refuse_links(tmp_path / "run")
        if name == ".lock":
            with pytest.raises(UsageError, match="remove that link"), writing(tmp_path / "run"):
                pass
        (tmp_path / "run" / name).unlink()
    assert (tmp_path / "victim").read_text() == "precious"
    with writing(tmp_path / "run"):
        pass


def test_a_file_that_is_written_anew_takes_the_place_of_a_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "status.json").symlink_to(tmp_path / "victim")
    (tmp_path / f".status.json.{os.getpid()}.tmp").symlink_to(tmp_path / "victim")  # a name that could be guessed
    with replacing(tmp_path / "status.json") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "victim").read_text() == "precious" and (tmp_path / "status.json").read_text() == "new"
    with replacing(tmp_path / ("x" * 255)) as temporary:  # the longest name that there is
        temporary.write_text("new")


def test_names_in_messages_and_folders() -> None:
    assert shown("a b-ü.png") == "a b-ü.png"
    assert shown("a\n\x1b[31mb") == "a\\n\\x1b[31mb" and shown("\udcff.png").isprintable()
    assert len(shown("x" * 300)) < 100
    assert short("ü" * 100) == "ü" * 30 and short("plain") == "plain"
