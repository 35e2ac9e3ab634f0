"""The groups of conf/: what each says of itself, where that is shown, and which of them nobody types."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from helpers import compose, overrides

from gancli.cli import options
from gancli.folders import INTERNAL
from gancli.training.build import build
from gancli.verbs import VERBS

CONF = ROOT / "conf"
GROUPS = sorted(p.relative_to(CONF).as_posix() for p in CONF.rglob("*") if p.is_dir())
GROUPS = [group for group in GROUPS if group.partition("/")[0] != "local"]  # the user's own, not in git
TYPED = [group for group in GROUPS if group.partition("/")[0] not in INTERNAL]
CHOSEN = [group for group in GROUPS if group.startswith("internal/")] + ["hydra"]
PENALISED = [p.stem for p in sorted((CONF / "model").glob("*.yaml")) if re.search(r"penalty: \[\w", p.read_text())]
RECIPES = [p.stem.rpartition("_")[0] for p in sorted((CONF / "internal" / "recipe").glob("*.yaml"))]
FIRST_LINE = re.compile(r"[A-Z].*\. Read by (?P<verbs>every verb|\w+|\w+(, \w+)* and \w+)\.")


def verbs_of(line: str) -> set[str]:
    """Return the verbs that the first line of a README names, or an empty set if it has not the form."""
    found = FIRST_LINE.fullmatch(line)
    if found is None:
        return set()
    return set(VERBS) if found["verbs"] == "every verb" else set(re.split(", | and ", found["verbs"]))


def readers(group: str) -> set[str]:
    """Return the verbs that have the group in their defaults list."""
    lists = {name: yaml.safe_load((CONF / f"{name}.yaml").read_text())["defaults"] for name in VERBS}
    named = {name: {str(key).split()[-1] for each in lists[name] if isinstance(each, dict) for key in each}
             for name in VERBS}  # fmt: skip
    return {name for name in VERBS if group in named[name]}


def table(groups: Sequence[str]) -> str:
    """Return the table that conf/README.md has to show of groups."""
    rows = [f"| [`{group}`]({group}/README.md) | {options.first_line(group)} |" for group in groups]
    return "\n".join(["| group | what it chooses |", "|---|---|", *rows, ""])


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_says_what_it_is_for_and_who_reads_it(group: str) -> None:
    text = (CONF / group / "README.md").read_text(encoding="utf-8")
    line, *rest = text.splitlines()
    assert line == options.first_line(group) and len(line) <= 120 and (not rest or rest[0] == "")
    assert readers(group) <= verbs_of(line) <= set(VERBS)
    assert verbs_of(line), f"{line!r} has not the form 'What it chooses. Read by train and eval.'"


def test_the_form_of_a_first_line_can_be_missed() -> None:
    assert verbs_of("The data. Read by train, eval and sample.") == {"train", "eval", "sample"}
    for wrong in ("The data.", "The data. Read by train eval.", "the data. Read by train.", "Read by train."):
        assert verbs_of(wrong) == set()
    assert readers("data") == {"train", "eval", "tune", "bench"}
    assert readers("internal/recipe") == {"train", "tune", "bench"} and readers("space") == {"tune"}


def test_the_readme_and_the_help_show_the_same_lines(cli) -> None:
    roots = [group for group in TYPED if "/" not in group]
    text = (CONF / "README.md").read_text(encoding="utf-8")
    for groups in (roots, CHOSEN):
        assert table(groups) in text, f"conf/README.md lacks the table\n\n{table(groups)}"
    assert text.count("/README.md) |") == len(roots + CHOSEN)
    shown = cli("help").out.partition("Groups, chosen by group=option:\n\n")[2].partition("\n\n")[0]
    assert [line.split(maxsplit=1) for line in shown.splitlines()] == [[g, options.first_line(g)] for g in roots]
    for group in TYPED:
        assert cli("help", group).out.splitlines()[0] == options.first_line(group)
        parent, _, name = group.rpartition("/")
        assert not parent or re.search(
            rf"^  {name}/ +{re.escape(options.first_line(group))}$", cli("help", parent).out, re.M
        )


def test_nobody_types_internal_groups(cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "conf" / "local").mkdir(parents=True)  # as in a checkout with settings of its machine
    (tmp_path / "conf" / "local" / "default.yaml").write_text("# @package _global_\nseed: 1\n")
    hidden = re.compile(rf"^ *({'|'.join(INTERNAL)})\b[:/=]?(?!\.)", re.M)
    for verb in VERBS:
        assert not hidden.search(cli(verb, "--help").out.partition("Groups")[2].partition("Keys")[0])
    assert not hidden.search(cli("help").out)
    for group in (*INTERNAL, *(group for group in GROUPS if group not in TYPED)):
        assert cli("help", group).code == 2
    for typed in ("", "h", "i", "l"):
        line = f"gancli train {typed}"
        monkeypatch.setenv("COMP_LINE", line)
        monkeypatch.setenv("COMP_POINT", str(len(line)))
        offered = cli("-sc", "query=bash").out.split()
        assert [word for word in offered if hidden.match(word)] == []
        assert typed not in ("", "l") or "loss=" in offered


def test_hydras_own_groups_can_be_completed(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_LINE", "gancli train hydra/launcher=")
    monkeypatch.setenv("COMP_POINT", "28")
    assert "hydra/launcher=basic" in cli("-sc", "query=bash").out.split()


def test_a_readme_is_no_option(cli) -> None:
    assert "README" not in cli("train", "--help").out
    assert cli("train", "model=README", "--cfg", "job").code == 2


def test_the_users_own_groups(cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for place, group in (("conf", "mine"), ("conf", "silent"), ("named", "loss")):
        (tmp_path / place / group).mkdir(parents=True)
        (tmp_path / place / group / "one.yaml").write_text("# The only one.\nkey: 1\n")
    (tmp_path / "conf" / "mine" / "README.md").write_text("# What I try\n\nMore.\n")
    (tmp_path / "named" / "loss" / "README.md").write_text("Losses of mine.\n")
    (tmp_path / "conf" / "silent" / "README.md").write_text("")
    monkeypatch.setenv("GANCLI_CONF", str(tmp_path / "named"))
    shown = cli("help").out
    assert re.search(r"^  mine +What I try$", shown, re.M) and re.search(r"^  silent *$", shown, re.M)
    assert "Losses of mine" not in shown  # the shipped line stays
    assert cli("help", "mine").out == "What I try\n  one  The only one.\n"
    (tmp_path / "conf" / "silent" / "README.md").unlink()
    assert cli("help", "silent").out == "  one  The only one.\n"


def test_an_internal_option_that_is_not_there_is_named_with_those_that_are(cli, tmp_path: Path) -> None:
    (tmp_path / "conf" / "model").mkdir(parents=True)
    text = "defaults: [/internal/levels@_global_.data: grey, _self_]\n_target_: gancli.models.mlp_gan.MLPGAN\n"
    (tmp_path / "conf" / "model" / "mine.yaml").write_text(text)
    answer = cli("train", "model=mine")
    assert answer.code == 2
    assert answer.err == "gancli: internal/levels=grey: no such option (allowed: binary)\n"


@pytest.mark.parametrize("model", PENALISED)
def test_numbers_of_a_papers_penalty_leave_with_it(model: str) -> None:
    """Had a recipe numbers for a penalty in a place of its own, they would stay behind, and be of nothing."""
    for penalties in ([], ["r2"]):
        composed = compose("train", overrides(model, f"penalty=[{','.join(penalties)}]"))
        assert list(composed.loss.get("penalties") or {}) == penalties
        build(composed)


@pytest.mark.parametrize("model", RECIPES)
def test_any_schedule_goes_with_any_recipe(model: str) -> None:
    """A recipe with a key of its own schedule, which others lack, would refuse them by a key that nobody typed."""
    assert set(compose("train", [f"model={model}", "schedule=constant"]).schedule) == {"_target_", "warmup"}
