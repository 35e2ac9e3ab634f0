"""Commands to copy: a line of their own, unbroken on a narrow terminal, and quoted for the shell."""

import ast
import logging
import re
import shlex
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from helpers import compose, run
from rich.console import Console

from gancli import console
from gancli.cli import sweep
from gancli.errors import Interrupted, UsageError, command
from gancli.training.folder import advice
from gancli.verbs import VERBS
from gancli.verbs.report import protocols
from gancli.verbs.report.runs import Card

LONG = f"/a folder/{'long' * 60}/[1]"


def test_commands_are_quoted_for_the_shell() -> None:
    assert command("eval", "ckpt=runs/1") == "gancli eval ckpt=runs/1"
    assert shlex.split(command("eval", f"ckpt={LONG}")) == ["gancli", "eval", f"ckpt={LONG}"]


def test_the_log_on_a_narrow_terminal_breaks_pads_and_colours_nothing(capsys, monkeypatch) -> None:
    narrow = Console(stderr=True, force_terminal=True, width=40, color_system="truecolor")
    monkeypatch.setattr(console, "console", narrow)
    console.setup_logging()
    line = command("eval", f"ckpt={LONG}", "n=64")
    logging.getLogger("gancli").info("done -> %s; next:\n%s", "[bold]1", line)
    console.setup_logging()
    assert capsys.readouterr().err == f"done -> [bold]1; next:\n{line}\n"


@pytest.mark.parametrize("typed", [["seed=1,2,3"], ["seed=1,2,3", "model=mlp_gan", "hydra.sweep.dir=my sweep/[1]"]])
def test_an_interrupted_sweep_prints_the_command_that_continues_it(cli, monkeypatch, typed: list[str]) -> None:
    calls: list[int] = []

    def call(cfg: Any, folder: Path) -> dict[str, float]:
        calls.append(cfg.seed)
        if calls == [1, 2]:
            raise Interrupted(signal.SIGINT, "stopped")
        return {"loss": 1.0}

    monkeypatch.setitem(VERBS.imported, "train", replace(VERBS["train"], run=call))
    words = [word if "dir=" not in word else "hydra.sweep.dir='my sweep/[1]'" for word in typed]
    answer = cli("train", "-m", *words)
    assert answer.code == 130 and "to go on with the rest" in answer.out
    last = answer.out.splitlines()[-1]
    program, *again = shlex.split(last)
    assert program == "gancli" and again[:2] == ["train", "-m"] and "seed=1,2,3" in again
    assert cli(*again).code == 0
    assert calls == [1, 2, 2, 3], "the first job is not done again"
    assert len(list(Path().rglob("results.csv"))) == 1, "it found the folder"
    assert sweep.again(["train", *words, "sweep=new"]) == sweep.again(["train", *words])


def test_a_failed_job_of_a_sweep_has_its_command_too(cli, monkeypatch) -> None:
    monkeypatch.setitem(VERBS.imported, "train", replace(VERBS["train"], run=lambda cfg, folder: {"n": 1.0}))
    answer = cli("train", "-m", "batch_size=0,64")
    assert answer.code == 1 and "2 jobs; 1 failed" in answer.out
    assert answer.out.splitlines()[-2] == "to run only those that failed:"
    assert answer.out.splitlines()[-1] == "gancli train -m batch_size=0,64"
    assert "1 job; table" in cli("train", "-m", "seed=1").out


def test_no_message_holds_a_command_within_its_line() -> None:
    """Whoever writes one uses errors.command() after a line break: it is quoted then, and easy to copy."""
    for path in (ROOT / "gancli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                text = "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
                found = re.search(rf"gancli ({'|'.join(VERBS)}) \S*[={{]|pip install", text)
                assert not found or text[: found.start()].endswith("\n"), f"{path.name}:{node.lineno}: {text}"


def test_a_full_disk_has_its_command_on_a_line_of_its_own(tmp_path) -> None:
    folder = tmp_path / "a run"
    run(folder, "images=16")
    assert advice(compose("train"), folder).splitlines()[1:] == [command("train", f"resume={folder}")]


def test_a_fact_to_choose_is_whole_and_quoted() -> None:
    cards = [
        Card(
            Path("a"), {"fid": 1.0}, {}, 1, {"split": "test", "reference": f"{letter * 30} (1)", "metrics": ["fid"]}, {}
        )
        for letter in "ab"
    ]
    with pytest.raises(UsageError) as error:
        protocols.require_one(cards)
    assert shlex.quote("only.reference=" + "a" * 30 + " (1)") in str(error.value)
