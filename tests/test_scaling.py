"""The page on many GPUs, outputs/results/scaling.md, against the script that counts, and the page of results."""

import re
import sys

import pytest
from conftest import ROOT
from helpers import compose, overrides

from gancli.training.build import build

PAGE = (ROOT / "outputs" / "results" / "scaling.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "outputs" / "results" / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(ROOT / "tests" / "benchmarks"))
    import bench_scaling

    yield bench_scaling
    sys.path.pop(0)


def test_the_tables_are_what_the_script_counts(script) -> None:
    rows = [line for line in script.tables() if line]
    assert len(rows) == 2 * (2 + len(script.MODELS))
    lines = PAGE.splitlines()
    start = lines.index(rows[0])
    assert [line for line in lines[start:] if line.startswith("| `") or line in rows][: len(rows)] == rows


def test_a_turn_sends_the_gradients_of_every_update(script, monkeypatch) -> None:
    """Against what training hands to the all-reduce; wgan_gp has five updates of the critic in a turn."""
    run = build(compose("train", overrides("wgan_gp")))
    sizes = {step.phase.name: sum(p.numel() for p in step.params) for step in run.steps}
    monkeypatch.setitem(script.MODELS, "wgan_gp", run.model.spec)
    monkeypatch.setattr(script, "compose", lambda verb, words: compose("train", overrides("wgan_gp", "loss.repeat=5")))
    found = script.cost("wgan_gp")
    critic, generator = (sizes[each.phase.name] for each in run.steps)
    assert found.bytes == 4 * (5 * critic + generator) and found.messages == 6


def test_a_ring(script) -> None:
    assert script.ring(100e9, 2, 50e9) == 2.0  # each sends half of the bytes twice
    assert script.ring(8e6, 8, 1e6) == 14.0 and script.ring(1.0, 1, 1.0) == 0.0


def test_costs_are_quoted_from_the_page_of_results() -> None:
    told = " ".join(RESULTS.split())
    table = PAGE.split("## What a run costs")[1]
    quotes = re.findall(r'"([^"]+)"', table)
    assert len(quotes) == 10 and all(quote in told for quote in quotes), [q for q in quotes if q not in told]
    minutes = re.findall(r"^\| `model=(\w+) data=mnist` \| (\d+k) \| (\d+) CPU minutes \|$", table, re.MULTILINE)
    assert len(minutes) == 4
    for name, images, each in minutes:
        assert re.search(rf"^\| `{name}` \| {images} \| .* \| {each} \|$", RESULTS, re.MULTILINE), name
