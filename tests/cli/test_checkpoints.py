"""Real verbs through the command line: train, resume, eval, sample, and checkpoints that were made to run code."""

import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
from helpers import overrides

from gancli import config
from gancli.cli import status
from gancli.training import checkpoint

TINY = [*overrides("dcgan", "images=48", "log.every=16", "checkpoint.every=16")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a tiny model through the command line and return its run folder."""
    from gancli.cli import main

    folder = tmp_path_factory.mktemp("trained") / "run"
    assert main(["train", *TINY, f"hydra.run.dir={folder}"]) == 0
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """Return a copy of the trained run that a test may change."""
    return Path(shutil.copytree(trained, tmp_path / "outputs" / "fake-dcgan" / "copy"))


def changed(run: Path, **targets: str) -> Path:
    """Write a checkpoint of the run with other targets in its config, outside of any run folder."""
    state = checkpoint.load(run).state
    cfg = config.from_yaml(state["config"])
    for group, target in targets.items():
        cfg[group] = {"_target_": target, "command": "touch canary"}
    cfg.trust = ["os", "builtins", "evil"]
    file = run.parent / "changed.pt"
    checkpoint.save(file, {k: v for k, v in state.items() if k != "format"} | {"config": config.to_yaml(cfg)})
    return file


def test_train_resume_sample_and_eval(cli, run: Path) -> None:
    assert cli("train", "resume=latest", "images=64").code == 0
    assert checkpoint.find(run).name == checkpoint.name(64)
    assert status.read(run)["state"] == "done" and config.from_yaml((run / "config.yaml").read_text()).images == 64
    assert cli("sample", f"ckpt={run}", "n=4", "out=drawn").code == 0
    assert len(list(Path("drawn").glob("0*.png"))) == 4
    assert cli("sample", f"ckpt={run}", "n=4", "out=drawn").code == 2  # overwrites nothing
    assert cli("eval", "ckpt=latest", "n=20", "metrics=[fid]", "features.epochs=1").code == 0
    assert list((run / "eval").glob("*.json"))
    assert cli("sample", f"ckpt={checkpoint.find(run)}", "n=1").code == 0


def test_a_file_outside_of_a_run_is_resumed_into_a_new_folder(cli, run: Path, tmp_path: Path) -> None:
    (tmp_path / "downloads").mkdir()
    file = Path(shutil.copy(checkpoint.find(run), tmp_path / "downloads" / "x.pt"))
    assert cli("train", f"resume={file}", "images=64", "runtime=auto").code == 0
    (new,) = tmp_path.glob("outputs/resumed/*")
    assert checkpoint.find(new).name == checkpoint.name(64)
    assert list((tmp_path / "downloads").iterdir()) == [file]


def test_a_finished_run_says_how_to_go_on(cli, run: Path) -> None:
    before = (run / "status.json").read_text()
    answer = cli("train", f"resume={run}")
    assert answer.code == 2 and "images=" in answer.err
    assert (run / "status.json").read_text() == before


HOSTILE = [
    "os.system",
    "builtins.eval",
    "gancli.cli.sys.exit",
    "gancli.cli.status.os.system",
    "torch.hub.load",
    "evil.Net",
]


@pytest.mark.parametrize("target", HOSTILE)
@pytest.mark.parametrize(
    "group, command",
    [
        ("model", "sample ckpt={} n=1"),
        ("data", "eval ckpt={}"),
        ("features", "eval ckpt={}"),
        ("optimizer", "train resume={}"),
    ],
)
def test_a_checkpoint_whose_targets_run_code_is_refused(
    cli, run, tmp_path, monkeypatch, group, command, target
) -> None:
    canary = tmp_path / "canary"
    (tmp_path / "evil.py").write_text(f"open({str(canary)!r}, 'w').close()\nclass Net: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    file = changed(run, **{group: target})
    answer = cli(*command.format(file).split())
    assert answer.code == 2
    assert "refused" in answer.err or "cannot be" in answer.err or "_target_=" in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert not canary.exists() and "evil" not in sys.modules


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("command", ["sample ckpt={}", "eval ckpt={}", "train resume={}"])
def test_a_pickle_is_refused_and_does_not_run(cli, tmp_path: Path, command: str) -> None:
    canary = tmp_path / "canary"
    torch.save({"format": checkpoint.FORMAT, "config": Bomb(f"touch {canary}")}, tmp_path / "bomb.pt")
    answer = cli(*command.format(tmp_path / "bomb.pt").split())
    assert answer.code == 2 and "refused" in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert not canary.exists()


def test_trust_lets_a_users_own_model_in(cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ownmodel.py").write_text("from gancli.models.dcgan import DCGAN\n\n\nclass Mine(DCGAN):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    line = ["train", *TINY, "model._target_=ownmodel.Mine", "hydra.run.dir=own"]
    refused = cli(*line)
    assert refused.code == 2 and "'trust=[ownmodel]'" in refused.err and not Path("own").exists()
    assert cli(*line, "trust=[ownmodel]").code == 0
    refused = cli("sample", "ckpt=own", "n=1")  # trust is not saved
    assert refused.code == 2 and "'trust=[ownmodel]'" in refused.err
    assert cli("sample", "ckpt=own", "n=1", "trust=[ownmodel]").code == 0
    assert cli("train", "resume=own", "images=64").code == 2
    assert cli("train", "resume=own", "images=64", "trust=[ownmodel]").code == 0


@pytest.mark.parametrize("more", [[], ["view=interpolation"], ["format=npz"], ["view=interpolation", "format=npz"]])
def test_sample_without_a_number_draws_the_usual_one(more: list[str], cli, run: Path) -> None:
    answer = cli("sample", f"ckpt={run}", *more, "out=drawn")
    assert answer.code == 0, answer.err
    count = len(list(Path("drawn").glob("0*.png")))
    assert "format=npz" in more or count == (60 if "view=interpolation" in more else 64)


@pytest.mark.parametrize("verb", ["sample", "eval", "train", "complete"])
@pytest.mark.parametrize("odd", ["model: x", "model: [1]", "model: {width: 4}", "data: null"])
def test_a_run_folder_whose_config_has_another_shape_is_refused_in_one_line(
    verb: str, odd: str, cli, run: Path
) -> None:
    file = run / "config.yaml"
    values = config.plain(config.from_yaml(file.read_text()))
    key, _, _ = odd.partition(":")
    file.write_text(
        config.to_yaml(config.from_yaml(odd)) + config.to_yaml({k: v for k, v in values.items() if k != key})
    )
    answer = cli(verb, f"resume={run}" if verb == "train" else f"ckpt={run}")
    assert answer.code == 2 and len(answer.err.strip().splitlines()) == 1, answer.err
