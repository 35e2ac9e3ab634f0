"""Help: what it lists and explains, and what is imported before it answers."""

import re
import subprocess
import sys

import pytest
from conftest import ROOT

from gancli import __version__, folders
from gancli.cli import options
from gancli.verbs import VERBS


def modules_after(*argv: str) -> set[str]:
    """Return what a fresh interpreter has imported after a command line."""
    code = "import sys; from gancli.cli import main; main(sys.argv[1:]); print('MODULES', *sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(answer.stdout.rpartition("MODULES")[2].split())


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["help"], ["help", "model"], ["tran"], []])
def test_answers_before_verbs_import_no_hydra(argv: list[str]) -> None:
    assert not {"torch", "hydra", "omegaconf", "rich"} & modules_after(*argv)


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["help", "model"]])
def test_help_pays_for_nothing_that_commands_need(argv: list[str]) -> None:
    """`dataclasses`, with the `inspect` that it imports, took a fifth of the help's time."""
    assert not {"dataclasses", "inspect", "gancli.cli.job", "gancli.verbs.base"} & modules_after(*argv)


def test_a_verb_is_imported_when_it_is_asked_for() -> None:
    """All of them together would take a sixth of the help's time."""
    declared = {f"gancli.verbs.{name}" for name in ("train", "doctor", "report.verb", "evaluate.verb", "bench.verb")}
    assert not declared & modules_after("--help")
    assert declared & modules_after("doctor", "runs=3", "--cfg", "job") == {"gancli.verbs.doctor"}


@pytest.mark.parametrize(
    "argv",
    [
        ["train", "--cfg", "job"],
        ["train", "--help"],
        ["train", "optimizer.lrr=1"],
        ["train", "+optimizer.lrr=1"],
        ["train", "batch_size=0", "hydra.run.dir=/tmp/gancli-test-never"],
        ["eval"],
    ],
)
def test_no_command_that_trains_nothing_imports_torch(argv: list[str]) -> None:
    modules = modules_after(*argv)
    assert "hydra" in modules
    assert "torch" not in modules


def test_help_and_version(cli) -> None:
    answer = cli("--help")
    assert answer.code == 0
    assert all(verb in answer.out for verb in (*VERBS, "gancli -sc install=bash"))
    assert cli("--version").out == f"gancli {__version__}\n"


@pytest.mark.parametrize("name", ["train", "eval", "sample", "report", "doctor", "bench", "tune"])
def test_help_of_a_verb_lists_groups_and_all_root_keys(cli, name: str) -> None:
    answer = cli(name, "--help")
    assert answer.code == 0
    assert name in ("report", "doctor") or re.search(r"^runtime: auto, cpu, cuda$", answer.out, re.M)
    assert f"gancli {name} " in answer.out and "gancli_schema" not in answer.out
    groups = {"runtime", "data", "features", "space", "model", "loss", "optimizer", "schedule"}
    for key in VERBS[name].keys.__dataclass_fields__.keys() - groups:
        assert re.search(rf"^{key}: ", answer.out, re.M), key


def test_help_of_eval_names_every_metric(cli) -> None:
    from gancli.metrics.registry import METRICS

    listed = cli("eval", "--help").out.partition("available: ")[2].partition(";")[0]
    assert sorted(word for word in listed.split() if word != "#") == sorted(METRICS)


def test_help_of_a_verb_leaves_out_what_it_does_not_read(cli) -> None:
    assert not re.search(r"^(model|loss|penalty): ", cli("eval", "--help").out, re.M)
    assert "Groups" not in cli("report", "--help").out


def test_help_of_a_group_explains_its_options(cli) -> None:
    answer = cli("help", "model", "experiment/lecture")
    assert answer.code == 0
    assert re.search(r"^  dcgan +Radford et al\. 2016: convolutional GAN for 8 to 128 pixels\.$", answer.out, re.M)
    assert re.search(r"^  dirac_gan +Mescheder et al\. 2018", answer.out, re.M)
    assert max(map(len, answer.out.splitlines())) <= 120
    assert "did you mean 'model'" in cli("help", "modle").err
    assert cli("help", "../conf/model").code == cli("help", "internal/recipe").code == 2
    assert cli("help", "sample").out == cli("sample", "--help").out


def test_every_option_that_is_typed_is_explained() -> None:
    groups = folders.typed_groups()
    lines = [line for group in groups for line in options.explained(group).splitlines()]
    assert len(groups) > 10 and not [line for line in lines if re.fullmatch(r"  \S+ *", line)]


def test_what_announces_a_command_is_left_out_with_it(tmp_path) -> None:
    files = [file for group in folders.typed_groups() for file in options._files(group).values()]
    assert not [file for file in files if options._story(file).endswith(":")]
    file = tmp_path / "own.yaml"
    for text, says in (
        ("# A table. One\n# command makes it:\n# gancli train -m seed=1,2\n", "A table."),
        ("# Two things: a and b.\nkey: 1\n", "Two things: a and b."),
    ):
        file.write_text(text)
        assert options._story(file) == says


@pytest.mark.parametrize("name", VERBS)
def test_help_of_a_verb_has_no_long_lists_and_no_gaps(cli, name: str) -> None:
    answer = cli(name, "--help").out
    groups = answer.partition("Groups, chosen")[2].partition("Keys, set")[0]
    assert max(map(len, groups.splitlines()), default=0) <= 120
    assert "\n\n\n" not in answer.rstrip()


def test_an_option_in_place_of_a_group_is_told_its_group(cli) -> None:
    assert cli("help", "dcgan").err == "gancli: 'dcgan' is an option of model; gancli help model explains it\n"
    told = cli("help", "r1").err  # of three groups
    assert "an option of penalty and" in told and "gancli help penalty " in told
