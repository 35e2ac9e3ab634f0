"""What the shell is offered: nested options, values, runs; and none of what only other configs use."""

import os
from pathlib import Path

import pytest

from gancli import folders
from gancli.metrics.registry import METRICS


@pytest.fixture
def offers(cli, monkeypatch: pytest.MonkeyPatch):
    def ask(line: str) -> list[str]:
        monkeypatch.setenv("COMP_LINE", line)
        monkeypatch.setenv("COMP_POINT", str(len(line)))
        answer = cli("-sc", "query=bash")
        assert answer.code == 0 and not answer.err
        assert all(word.startswith(line.split(" ")[-1]) for word in answer.out.split())
        return answer.out.split()

    return ask


@pytest.mark.parametrize(
    "line, some",
    [
        ("gancli ", {"train", "help"}),
        ("gancli help mo", {"model"}),
        ("gancli help experiment/", {"experiment/lecture"}),
        ("gancli train experiment=lec", {"experiment=lecture/dirac_gan"}),
        ("gancli train model=", {"model=dcgan", "model=pixelcnn_pp"}),
        ("gancli train loss/ad", {"loss/adversarial="}),
        ("gancli train model.wi", {"model.width="}),
        ("gancli train checkpoint.", {"checkpoint.every="}),
        ("gancli train ", {"model=", "model.", "checkpoint.", "images=", "experiment="}),
        ("gancli eval split=", {"split=train", "split=test"}),
        ("gancli eval ema=", {"ema=true", "ema=false"}),
        ("gancli eval ckpt=", {"ckpt=latest"}),
        ("gancli train resume=", {"resume=latest"}),
        ("gancli bench ", {"compare=", "profile=", "model=", "model.", "batch_size="}),
        ("gancli bench profile=", {"profile=true"}),
        ("gancli tune ", {"space=", "trials=", "objective=", "model=", "model.", "batch_size="}),
        ("gancli tune space=", {"space=gan_lr"}),
        ("gancli tune pruner=", {"pruner=median", "pruner=hyperband"}),
    ],
)
def test_what_is_offered(offers, line: str, some: set[str]) -> None:
    assert some <= set(offers(line))


@pytest.mark.parametrize("key", ["eval metrics", "train eval.metrics", "report metrics"])
def test_all_metrics_are_offered(offers, key: str) -> None:
    assert offers(f"gancli {key}=") == [f"{key.split()[1]}={name}" for name in METRICS]


@pytest.mark.parametrize(
    "verb", ["train", "eval", "sample", "complete", "project", "encode", "report", "doctor", "tune", "bench"]
)
def test_no_internals_are_offered(offers, verb: str) -> None:
    hidden = [*folders.INTERNAL, "likelihood", "generator", *(["data", "experiment"] if verb == "report" else [])]
    offered = offers(f"gancli {verb} ")
    assert offered and not [word for word in offered if word.rstrip("=.") in hidden or "/" in word or "hydra" in word]


def test_runs_are_offered_newest_first(offers, tmp_path: Path) -> None:
    for age, name in enumerate(["a-b/2", "sweep/x/job=1", "a-b/1", "a-b/my run"]):
        folder = tmp_path / "outputs" / name
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text("x: 1\n")
        os.utime(folder / "config.yaml", (1000 - age, 1000 - age))
    runs = ["outputs/a-b/2", "outputs/sweep/x/job=1", "outputs/a-b/1"]
    assert offers("gancli sample ckpt=") == ["ckpt=latest", *(f"ckpt={run}" for run in runs)]
    assert offers("gancli report outputs/a") == ["outputs/a-b/2", "outputs/a-b/1"]
    assert offers("gancli doctor ")[-3:] == runs
    assert offers("gancli train resume=outputs/s") == ["resume=outputs/sweep/x/job=1"]


def test_own_options_are_offered(offers, tmp_path: Path) -> None:
    (tmp_path / "conf/experiment/mine").mkdir(parents=True)
    (tmp_path / "conf/experiment/mine/first.yaml").write_text("# @package _global_\nseed: 1\n")
    assert offers("gancli train experiment=mi") == ["experiment=mine/first"]
