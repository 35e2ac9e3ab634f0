"""The command line: folders, exit codes, environment and completion; the verbs themselves are stand-ins."""

import argparse
import errno
import json
import os
import pickle
import re
import signal
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from hydra._internal.hydra import Hydra
from stand_ins import TYPICAL, replace_verbs

from gancli import __version__
from gancli.cli import status
from gancli.cli.job import Job
from gancli.config import composition, mended
from gancli.errors import Interrupted, TrainingDiverged, UsageError


def raising(error: BaseException, *, after: str | None = None) -> Callable[..., dict[str, float]]:
    """Return a verb that writes a file, if one is named, and raises."""

    def call(name: str, cfg: Any, folder: Path) -> dict[str, float]:
        if after:
            (folder / after).write_text("x")
        raise error

    return call


def test_flags_may_stand_anywhere(cli) -> None:
    answer = cli("train", "seed=7", "--cfg", "job", "model=mlp_gan", "-p", "schedule")
    assert answer.code == 0
    assert "gancli.training.schedules.Goodfellow2014" in answer.out and "seed" not in answer.out


def test_two_runs_do_not_share_a_folder(cli, verb) -> None:
    assert [cli(*TYPICAL).code for _ in range(2)] == [0, 0]
    first, second = (folder for _, _, folder in verb)
    assert first != second and first.parent == second.parent
    assert first.parent.parts[-2:] == ("outputs", "mnist-dcgan")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-\d{6}", first.name)


def test_outputs_variable(cli, verb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GANCLI_OUTPUTS", str(tmp_path / "elsewhere"))
    assert cli("train").code == 0
    assert verb[0][2].parent == tmp_path / "elsewhere" / "digits-dcgan"


def test_the_verb_gets_a_plain_resolved_config(cli, verb) -> None:
    assert cli("train", "images=1.5M", "checkpoint.every=1e4", "schedule.warmup=20k", "runtime=cpu").code == 0
    cfg = verb[0][1]
    assert (cfg.images, cfg.checkpoint.every, cfg.samples.every) == (1_500_000, 10_000, 50_000)
    assert cfg.schedule.warmup == 20_000
    assert cfg.runtime.device == "cpu" and type(cfg.runtime.device) is str
    with pytest.raises(AttributeError):
        cfg.no_such_key  # noqa: B018


def test_status_of_a_run(cli, verb) -> None:
    cli(*TYPICAL)
    written = status.read(verb[0][2])
    assert written["state"] == "done" and written["verb"] == "train" and written["error"] is None
    assert written["overrides"] == list(TYPICAL[1:]) and written["version"] == __version__
    assert written["metrics"] == {"loss/generator": 0.5} and written["seconds"] >= 0
    assert written["choices"]["data"] == "mnist"


ENDINGS = [
    # (error, exit code, words of the line, state)
    (TrainingDiverged("generator: loss is not finite"), 3, "generator: loss is not finite", "failed"),
    (Interrupted(signal.SIGTERM, "saved; resume=..."), 143, "saved; resume=...", "interrupted"),
    (Interrupted(signal.SIGINT, "saved; resume=..."), 130, "saved; resume=...", "interrupted"),
    (KeyboardInterrupt(), 130, "interrupted", "interrupted"),
    (OSError(errno.ENOSPC, "No space left", "/disk/x.pt"), 2, "no space left on the disk of /disk/x.pt", "failed"),
    (PermissionError(errno.EACCES, "Permission denied", "/root/x"), 2, "/root/x: permission denied", "failed"),
    (MemoryError(), 2, "out of memory with batch_size=64; try batch_size=32", "failed"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: x"), 2, "accumulate=2", "failed"),
    (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory."), 2, "try batch_size=32", "failed"),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `x`"), 2, "try batch_size=32", "failed"),
    (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"), 2, "try batch_size=32", "failed"),
    (UsageError("wrong in the middle"), 2, "wrong in the middle", "failed"),
]


@pytest.mark.parametrize("error, code, says, state", ENDINGS, ids=[f"{type(e[0]).__name__}-{e[1]}" for e in ENDINGS])
def test_endings_of_a_run(cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error, code, says, state) -> None:
    replace_verbs(monkeypatch, raising(error, after="log.txt"))
    answer = cli("train")
    assert answer.code == code
    assert says in answer.err and len(answer.err.strip().splitlines()) == 1
    (file,) = tmp_path.glob("outputs/*/*/status.json")
    assert json.loads(file.read_text())["state"] == state


def test_a_bug_shows_its_traceback(cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    replace_verbs(monkeypatch, raising(ValueError("a bug")))
    answer = cli("train")
    assert answer.code == 1
    assert "Traceback" in answer.err and answer.err.rstrip().endswith("ValueError: a bug")
    (file,) = tmp_path.glob("outputs/*/*/status.json")
    assert json.loads(file.read_text())["error"] == "ValueError: a bug"


def test_a_usage_error_before_anything_is_written_leaves_no_folder(cli, monkeypatch, tmp_path: Path) -> None:
    replace_verbs(monkeypatch, raising(UsageError("no data")))
    assert cli("train").code == 2
    assert not list(tmp_path.glob("outputs/*"))


def test_a_folder_with_a_run_is_not_written_over(cli, verb, tmp_path: Path) -> None:
    assert cli("train", "hydra.run.dir=here").code == 0
    before = (tmp_path / "here" / "status.json").read_text()
    answer = cli("train", "hydra.run.dir=here", "seed=1")
    assert answer.code == 2 and "already holds a run" in answer.err
    assert len(verb) == 1 and (tmp_path / "here" / "status.json").read_text() == before


def test_closed_pipe() -> None:
    command = f"{sys.executable} -m gancli train --cfg job | head -n 1"
    script = f"{command}; echo ${{PIPESTATUS[0]}}"
    answer = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert answer.stdout.split()[-1] == "0" and answer.stderr == ""


def test_environment_is_as_before(cli, verb) -> None:
    environment = dict(os.environ)
    for argv in (TYPICAL, ("train", "modle=x"), ("train", "--cfg", "job")):
        cli(*argv)
    assert dict(os.environ) == environment


def test_a_job_survives_pickling() -> None:
    job = pickle.loads(pickle.dumps(Job("train")))
    assert job == Job("train")


def test_a_job_that_is_requeued_begins_anew() -> None:
    """submitit pickles it after a signal has ended it; such an error cannot be read back."""
    ended = Job("train", called=True, error=Interrupted(10, "saved"), metrics={"fid": 1.0})
    assert pickle.loads(pickle.dumps(ended)) == Job("train")


def test_python_3_14_checks_of_help_texts_do_not_stop_hydra(monkeypatch: pytest.MonkeyPatch) -> None:
    def strict(self: ArgumentParser, action: Any) -> None:
        if not isinstance(action.help, str):
            raise ValueError("badly formed help string")

    monkeypatch.setattr(ArgumentParser, "_check_help", strict, raising=False)
    lazy, before = argparse.Action([], "x", help=object()), Hydra.get_mode
    with mended.mended_hydra():
        if composition.HYDRA_1_3:
            ArgumentParser()._check_help(lazy)
        assert Hydra.get_mode is not before
    assert ArgumentParser._check_help is strict and Hydra.get_mode is before


def test_paths_that_hydra_cannot_read_unquoted(cli, verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("train")
    strange = tmp_path / "it's (a) run=1, ü"
    verb[0][2].rename(strange)
    assert cli("sample", f"ckpt={strange}", "out=~/x y").code == 0
    assert verb[1][1].ckpt == str(strange) and verb[1][1].out == "~/x y"
    assert cli("train", "data=folder", "data.root=~/faces").code == 0
    assert verb[2][1].data.root == "~/faces"


# The user's own configs, and completion


def test_users_own_configs(cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for place in ("conf", "named", "dir", "path"):
        (tmp_path / place / "loss").mkdir(parents=True)
        text = f"_target_: gancli.losses.adversarial.NonSaturating\nrepeat: {len(place)}\n"
        (tmp_path / place / "loss" / f"mine_{place}.yaml").write_text(text)
    monkeypatch.setenv("GANCLI_CONF", str(tmp_path / "named"))
    show = ("--cfg", "job", "-p", "loss")
    assert "repeat: 4" in cli("train", "loss=mine_conf", *show).out
    assert "repeat: 5" in cli("train", "loss=mine_named", *show).out
    assert "repeat: 3" in cli("train", "--config-dir", "dir", "loss=mine_dir", *show).out
    assert "repeat: 4" in cli("train", f"hydra.searchpath=[file://{tmp_path}/path]", "loss=mine_path", *show).out
    assert "mine_conf, mine_named, minimax" in cli("train", "--help").out


COMPLETIONS = [
    ("gancli tr", {"train"}),
    ("gancli ", {"train", "eval", "sample", "report", "doctor"}),
    ("gancli train model=", {"model=dcgan", "model=mlp_gan"}),
    ("gancli train -m runtime=c", {"runtime=cpu", "runtime=cuda"}),
    ("gancli train model=mlp_gan schedule.momentum", {"schedule.momentum_start=", "schedule.momentum_end="}),
    ("gancli eval ck", {"ckpt="}),
    ("gancli tran mod", set()),
]


@pytest.mark.parametrize("line, offered", COMPLETIONS, ids=[line for line, _ in COMPLETIONS])
def test_completion(cli, monkeypatch: pytest.MonkeyPatch, line: str, offered: set[str]) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    answer = cli("-sc", "query=bash")
    assert answer.code == 0
    assert offered <= set(answer.out.split())
    assert all(word.startswith(line.split(" ")[-1]) for word in answer.out.split())


def test_completion_in_bash(tmp_path: Path) -> None:
    (tmp_path / "gancli").write_text(f'#!/bin/sh\nexec {sys.executable} -m gancli "$@"\n')
    (tmp_path / "gancli").chmod(0o755)
    script = """
        eval "$(gancli -sc install=bash)"
        COMP_WORDS=(gancli train model=) COMP_CWORD=2 COMP_LINE='gancli train model=' COMP_POINT=19
        $(complete -p gancli | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    answer = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert "dcgan" in answer.stdout and "mlp_gan" in answer.stdout, answer.stderr


def test_module_runs_like_the_script(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "gancli", "train", "modle=dcgan"]
    answer = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert answer.returncode == 2 and "did you mean 'model'?" in answer.stderr


def test_no_two_columns_of_a_sweep_have_one_name(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_verbs(monkeypatch, lambda name, cfg, folder: {"batch_size": 1.0, "state": 2.0})
    answer = cli("train", "-m", "batch_size=4,8")
    heads = re.split("  +", answer.out.splitlines()[2])
    assert "batch_size (result)" in answer.out and "state (result)" in answer.out and len(heads) == len(set(heads))


def test_an_interruption_is_told_once(cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    replace_verbs(monkeypatch, raising(Interrupted(signal.SIGINT, "stopped at 8 images"), after="log.txt"))
    assert cli("train").code == 130
    (file,) = tmp_path.glob("outputs/*/*/status.json")
    assert json.loads(file.read_text())["error"] == "stopped at 8 images"


@pytest.mark.parametrize("what", ["job", "all"])
@pytest.mark.parametrize(
    "line, says",
    [
        ("train experiment=lecture/dirac_gan epochs=3", "epochs"),
        ("train other_data=true", "other_data"),
        ("train epochs=3 images=5", "images"),
        ("train batch_size=0", "batch_size=0: must be"),
        ("train model.widht=3", "did you mean"),
        ("train model.width=-3", "model.width=-3"),
        ("eval images=x data=digits which=all", "which"),
    ],
)
def test_a_config_is_shown_only_if_it_would_run(cli, tmp_path, line, says, what) -> None:
    refused = cli(*line.split())
    answer = cli(*line.split(), "--cfg", what)
    assert (answer.code, answer.out) == (2, "") and says in answer.err and answer.err == refused.err
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_config_that_would_run_is_shown_once_and_nothing_is_written(cli, tmp_path) -> None:
    answer = cli("train", "images=5k", "--cfg", "job", "--resolve", "--package", "ema")
    assert answer.code == 0 and "half_life" in answer.out and answer.err == ""
    assert "epochs" in cli("train", "--cfg", "hydra", "epochs=3").out
    assert list(tmp_path.iterdir()) == []
