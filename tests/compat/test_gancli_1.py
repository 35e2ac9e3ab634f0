"""Runs of gancli 0.1.0 (checkpoint format gancli-1) resume and evaluate as that release resumed and evaluated them.

The fixtures are made by `make.py`, with the old release. On the processor and with the torch version that made them
(both stand in machine.json, INSTRUCTIONS here), the resumed states must be equal bit for bit, and so must the scores,
but for roundings where translations are drawn in other batches. Elsewhere kernels round differently, and dropout has
other masks since format gancli-3: there, the norms of the averaged model's tensors and the scores must agree within
rtol=1e-3, or 1e-5 of zero (1e-3 with other masks): Adam divides by gradients' sizes, so that the roundings of the
smallest weights grow.
"""

import json
import sys
import tarfile
from pathlib import Path

import pytest
import torch
from compat.make import ARCHIVE, CASES, EXPECTED, KEPT, newest, observed, resume_and_evaluate
from helpers import compose

from gancli.training.runtime import Runtime

REDRAWN = {"mlp_gan", "cgan"}  # with dropout
REBATCHED = {"cyclegan", "stargan"}  # translations are scored more at a time than that release did
INSTRUCTIONS = "AVX512"  # of the processor that made the fixtures; others of its name have AVX2
KNOWN = json.loads(EXPECTED.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gancli-1")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


def same_machine(run: Path) -> bool:
    """Whether the run was made on a processor and by a torch version equal to those of this machine."""
    made = json.loads((run / "machine.json").read_text(encoding="utf-8"))[0] | {"instructions": INSTRUCTIONS}
    here = Runtime.from_config(compose("train", ["runtime=cpu"]).runtime).machine()
    return all(made[key] == here[key] for key in ("device", "torch", "instructions"))


def test_the_fixtures_are_small_and_complete(runs: Path) -> None:
    assert ARCHIVE.stat().st_size + EXPECTED.stat().st_size <= 100_000
    assert set(KNOWN) == set(CASES) == {path.name for path in runs.iterdir()}
    for name in CASES:
        assert all((runs / name / kept).is_file() for kept in KEPT) and newest(runs / name).is_file()


@pytest.mark.parametrize("name", CASES)
def test_resumes_and_evaluates_as_before(name: str, runs: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["gancli"])
    run, threads = runs / name, torch.get_num_threads()
    exact = same_machine(run) and name not in REDRAWN
    try:
        resume_and_evaluate(name, run)
    finally:
        torch.set_num_threads(threads)
    found, known = observed(run), KNOWN[name]
    assert found["images"] == known["images"]
    assert list(found["scores"]) == list(known["scores"])
    if exact and name not in REBATCHED:
        assert found == known
    if exact:
        assert found["norms"] == known["norms"]
    assert found["norms"] == pytest.approx(known["norms"], rel=1e-3, abs=1e-3 if name in REDRAWN else 1e-5)
    for card, values in known["scores"].items():
        assert found["scores"][card] == pytest.approx(values, rel=1e-6 if exact else 1e-3), card
