"""Measuring a config: images/s, time per phase, shares of what the device can do, launches, memory, comparisons.

gancli bench model=dcgan data=mnist 'compare=[bare,textbook]' profile=true
"""

import json
import logging
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from gancli.config import plain
from gancli.console import setup_logging
from gancli.errors import UsageError
from gancli.files import inside, replacing
from gancli.training.build import build
from gancli.training.run import Run
from gancli.training.tracker import Tracker
from gancli.training.turn import run_turn
from gancli.verbs.bench import loops, work
from gancli.verbs.bench.table import table
from gancli.verbs.bench.timing import interleaved, phases, watched

log = logging.getLogger("gancli")
FILE, TRACE = "bench.json", "gancli.pt.trace.json"  # TensorBoard's plugin knows traces by this ending
WARM = 3  # turns before anything is measured: memory is allocated, algorithms are chosen
TRACED = 5  # turns of a trace, at least
OURS = "gancli"  # among the ways to train


def bench(cfg: Any, folder: Path) -> dict[str, float]:
    """Measure the training that ``cfg`` describes; print a table, and write ``bench.json`` and perhaps a trace.

    Nothing else of the run is done, such as pictures, scores and checkpoints.

    Returns:
        ``images_per_s``, ``peak_memory_gib``, the shares of the ceilings, and ``times/<way>`` for each comparison.

    Raises:
        UsageError: see build() and loops.check_rivals(); a model without training steps.
        TrainingDiverged: a loss is not finite.
    """
    setup_logging()
    words, cfg = loops.words(cfg.compare), loops.quiet(cfg)
    run = build(cfg)
    if not run.steps:
        raise UsageError(f"{type(run.model).__name__} is fitted to the data at once, and has no steps to measure")
    loops.check_rivals(words, cfg, run)
    tracker = Tracker(folder, main=False)  # which keeps the scalars and writes nothing
    cycle = math.lcm(*(term.interval for step in run.steps for term in step.phase.terms))
    found = _facts(run)
    run.runtime.memory()  # resets the peak
    _turns(run, tracker, WARM)
    found["turn"] = _turn(run, tracker, cycle, cfg.seconds)
    asked = _work(run, tracker, cycle)
    found["memory"] = work.memory(run.runtime)._asdict()
    found["ceilings"] = work.ceilings(run.runtime)._asdict()
    ways = {OURS: loops.own(run, tracker), **dict(loops.rivals(words, cfg, run, folder))}
    found |= _rates(ways, run, cfg)
    tracker.tick(run.images)
    found["work"] = asked | _shares(asked, found["images_per_s"], found["ceilings"])
    if cfg.profile:
        found["trace"] = _trace(run, tracker, cycle, folder)
    found["config"] = plain(cfg)
    with replacing(inside(folder, FILE)) as temporary:
        temporary.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(table(found))
    print(f"-> {folder / FILE}")
    return _values(found)


def _facts(run: Run) -> dict[str, Any]:
    return {
        "model": type(run.model).__name__, "data": run.source.name, "batch_size": run.cfg.batch_size,
        "accumulate": run.cfg.accumulate, "machine": run.runtime.machine(run.model),
    }  # fmt: skip


def _turns(run: Run, tracker: Tracker, number: int) -> int:
    """Train for so many turns and return the number of images seen."""
    before = run.images
    for _ in range(number):
        run_turn(run, tracker, measure=False)
    return run.images - before


def _turn(run: Run, tracker: Tracker, cycle: int, seconds: float) -> dict[str, Any]:
    """Return the seconds of a turn and of each of its phases, and its images; means over a cycle."""
    times = phases(run, tracker, cycle, seconds)
    return {"seconds": sum(times.values()), "images": _turns(run, tracker, cycle) / cycle, "phases": times}


def _work(run: Run, tracker: Tracker, cycle: int) -> dict[str, Any]:
    """Return what a whole cycle of turns asks of the device; operators are counted where no graph launches them."""
    with work.Work() as counted:
        images = _turns(replace(run, graphs=None), tracker, cycle)
    launched = work.kernels(run.runtime, lambda: _turns(run, tracker, cycle))
    return {
        "turns": cycle, "images": images, "operators": counted.operators, "flops": counted.flops,
        "bytes": counted.bytes, "kernels": launched,
    }  # fmt: skip


def _rates(ways: Mapping[str, Any], run: Run, cfg: Any) -> dict[str, Any]:
    """Measure all ways in interleaved rounds; a ratio is the median of those of the rounds."""
    for way in ways.values():
        for _ in range(WARM):
            way()
    rounds = interleaved(ways, rounds=cfg.rounds, seconds=cfg.seconds, wait=run.runtime.wait)
    return {"images_per_s": statistics.median(rounds[OURS]), "rounds": rounds, "compare": compared(rounds)}


def compared(rounds: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """Return the median images/s of each other way, and the median over the rounds of how many times that ours are."""
    return {
        name: {
            "images_per_s": statistics.median(each),
            "ratio": statistics.median(mine / theirs for mine, theirs in zip(rounds[OURS], each)),
        }
        for name, each in rounds.items()
        if name != OURS
    }


def _shares(asked: Mapping[str, Any], images_per_s: float, ceilings: Mapping[str, float]) -> dict[str, float]:
    """Return what is done per second, and its share of the device's ceilings."""
    done = {name: asked[name] / asked["images"] * images_per_s for name in ("flops", "bytes")}
    shares = {f"{name}_share": each / ceilings[name] for name, each in done.items()}
    return {f"{name}_per_s": each for name, each in done.items()} | shares


def _trace(run: Run, tracker: Tracker, cycle: int, folder: Path) -> str:
    """Write a trace of some turns, with the phases as ranges, and return its name."""
    turns = cycle * math.ceil(TRACED / cycle)
    named, scalars = watched(run, tracker, torch.profiler.record_function)
    with work.profiler(run.runtime) as profile:
        _turns(named, scalars, turns)
        run.runtime.wait()
    with replacing(inside(folder, TRACE)) as temporary:
        profile.export_chrome_trace(str(temporary))
    return TRACE


def _values(found: Mapping[str, Any]) -> dict[str, float]:
    values = {"images_per_s": found["images_per_s"], "peak_memory_gib": found["memory"]["peak"] / 2**30}
    values |= {key: found["work"][key] for key in ("flops_share", "bytes_share")}
    return values | {f"times/{name}": each["ratio"] for name, each in found["compare"].items()}
