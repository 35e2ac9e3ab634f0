"""The script that measures on a lent GPU, on the CPU: it runs to its end, and keeps what a stage that fails knew."""

import json
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import pytest
from conftest import ROOT

STAGES = ["environment", "speed", "samplers", "evaluation"]  # neither those that start pytest or train, nor the slowest


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch):
    for folder in ("tests/gpu", "tests/benchmarks"):
        monkeypatch.syspath_prepend(str(ROOT / folder))
    import check

    return check


def test_the_stages_run_on_a_cpu(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "tests/gpu/check.py", "--device", "cpu", "--quick", "--out", tmp_path, "--only"]
    done = subprocess.run([*command, *STAGES, "--seconds", "1800"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = tmp_path.iterdir()
    assert file.name == "cpu.json"  # named after the device
    found = json.loads(file.read_text())["stages"]
    assert list(found) == STAGES and all(each["values"] and "failed" not in each for each in found.values())
    assert found["samplers"]["values"]["n=2"]["wavefront_equal"]
    assert found["speed"]["values"]["dcgan-32"]["images_per_s"].keys() > {"bare", "gancli", "textbook, 2 workers"}


def test_a_stage_that_fails_or_hangs_leaves_what_it_knew(check, tmp_path: Path, monkeypatch) -> None:
    import stages

    def failing(told):
        yield "before", 1
        raise ValueError("no such kernel")

    def hanging(told):
        yield "before", 2
        time.sleep(600)

    told = Namespace(out=tmp_path)
    monkeypatch.setitem(stages.STAGES, "failing", failing)
    monkeypatch.setitem(stages.STAGES, "hanging", hanging)
    found = check.run("failing", told, 60)
    assert found["values"] == {"before": 1} and found["failed"] == "ValueError: no such kernel" and found["where"]
    found = check.run("hanging", told, 2)
    assert found["values"] == {"before": 2} and "not done after 2 s" in found["failed"]


def test_every_stage_has_a_deadline(check) -> None:
    import stages

    assert check.DEADLINES.keys() == stages.STAGES.keys()


def test_the_models_whose_graphs_are_compared_have_deterministic_kernels(check) -> None:
    """The stage asks for them, and would end at the first model that has none."""
    import stages
    import torch
    from helpers import compose, overrides

    from gancli.training.build import build
    from gancli.training.runtime import Runtime

    torch.use_deterministic_algorithms(True)
    try:
        for name in stages.RECORDED:
            run = build(compose("train", overrides(name, "runtime.deterministic=true")))
            Runtime(torch.device("cuda")).check_deterministic(run.model, run.loss)
    finally:
        torch.use_deterministic_algorithms(False)
