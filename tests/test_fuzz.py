"""A slice of the fuzz run, and that the script notices each kind of fault that it is for."""

import random
import shutil
from pathlib import Path

import fuzz
import pytest
import torch
from attacks import ATTACKS, Try
from fuzz import attempt, changed, judged, make_runs, outside, weights

from gancli.training import checkpoint


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    make_runs(folder)
    return folder


@pytest.mark.parametrize("seed", range(24))
def test_a_slice(seed: int, runs: Path) -> None:
    assert attempt(runs, seed) is None


def test_the_slice_makes_every_attack() -> None:
    def attack(seed: int) -> str:
        at = random.Random(seed)
        at.choice(fuzz.FAMILIES)
        return at.choice(ATTACKS).__name__

    assert {attack(seed) for seed in range(24)} == {each.__name__ for each in ATTACKS}


@pytest.mark.parametrize(
    "code, said, fault",
    [
        (0, "", None), (2, "gancli: no such key\n", None), (3, "some log\ngancli: loss is not finite\n", None),
        (1, "gancli: x\n", "exit code 1"), (0, "Traceback (most recent call last):", "exit code 0"),
        (2, "", "with 0 lines"), (2, "gancli: a\ngancli: b\n", "with 2 lines"), (-1, "", "did not end"),
    ],
)  # fmt: skip
def test_ends_are_judged(code: int, said: str, fault: str | None) -> None:
    found = judged(code, said)
    assert found is None if fault is None else fault in (found or "")


def test_files_outside_and_changed_weights_are_noticed(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "canary").write_text("as it was")
    run = Path(shutil.copytree(runs / "dcgan", tmp_path / "work" / "dcgan"))
    assert outside(tmp_path) is None
    (tmp_path / "slip.png").touch()
    assert "outside" in (outside(tmp_path) or "")
    (tmp_path / "slip.png").unlink()
    (tmp_path / "canary").write_text("")
    assert "outside" in (outside(tmp_path) or "")
    each, good, argv = Try(random.Random(0), run, tmp_path), weights(run), ["sample", f"ckpt={run}"]
    assert changed(each, 0, argv, good) is None
    file = checkpoint.find(run)
    state = {k: v for k, v in checkpoint.load(file).state.items() if k != "format"}
    checkpoint.save(file, state | {"model": {k: v + 1 for k, v in state["model"].items()}})
    assert changed(each, 0, argv, good) == "changed weights were loaded in silence"
    assert changed(each, 2, argv, good) is None and torch.is_tensor(next(iter(good[0].values())))
