"""How fast a DCGAN trains at any batch, resolution and width, and what the time goes into: a figure and a CSV.

    make bench            # or: python tests/benchmarks/bench_curves.py [--rounds 3] [--seconds 0.2] [--out FOLDER]

All points of an axis, in both precisions, take their turns in every round, on one thread; a rate is the median of the
rounds in images per second of CPU time, which a busy machine distorts less than the clock on the wall. Shares are
those of single operators in turns of their own: convolutions, the update of the weights (optimizer, moving average),
all other operators, and the rest, which is Python and the dispatch of operators. The default of ``--out`` is a folder
of its own under outputs/bench; outputs/results has those of one chip.
"""

import argparse
import csv
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gancli.config import compose
from gancli.training.build import build
from gancli.training.runtime import Runtime
from gancli.training.tracker import Tracker
from gancli.verbs.bench.loops import own, quiet
from gancli.verbs.bench.timing import interleaved
from gancli.views import figures

BASE = {"batch": 64, "side": 32, "width": 32}
AXES = {"batch": (1, 2, 4, 8, 16, 32, 64, 128, 256, 512), "side": (16, 32, 64), "width": (16, 32, 64, 128)}
LABELS = {
    "batch": "images of a batch",
    "side": "side of the images, pixels",
    "width": "width of the networks, channels",
}
WAYS = {"fp32": ["runtime.precision=fp32", "runtime.channels_last=false"],
        "bf16": ["runtime.precision=bf16", "runtime.channels_last=auto"]}  # fmt: skip
PARTS = ("convolutions", "update", "other operators", "between operators")
UPDATE = ("_fused_adam_", "_foreach_lerp_", "_foreach_copy_", "_foreach_add_")
NAME = "speed-dcgan"
WARM, TRACED = 2, 0.2  # turns, and about as many seconds of turns


class Seconds(TorchDispatchMode):
    """Adds up the CPU time of the operators, by PARTS."""

    def __init__(self) -> None:
        super().__init__()
        self.of: dict[str, float] = defaultdict(float)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        start = time.process_time()
        found = func(*args, **(kwargs or {}))
        name = func.__name__
        part = PARTS[0] if "convolution" in name else PARTS[1] if name.startswith(UPDATE) else PARTS[2]
        self.of[part] += time.process_time() - start
        return found


def shares(step: Any, rate: float, images: int) -> list[float]:
    """Return the shares of PARTS in the time of a turn, given the images per second without the measurement."""
    turns = 1 + int(TRACED * rate / images)
    with Seconds() as seconds:
        for _ in range(turns):
            step()
    whole = max(turns * images / rate, sum(seconds.of.values()))
    found = [seconds.of[part] / whole for part in PARTS[:-1]]
    return [*found, 1 - sum(found)]


def turn(numbers: dict[str, int], words: list[str]) -> Any:
    shape = [f"data.size={numbers['side']}", "data.channels=3", f"data.n={max(numbers['batch'], 512)}"]
    sizes = [f"batch_size={numbers['batch']}", f"model.width={numbers['width']}"]
    cfg = compose("bench", ["model=dcgan", "data=fake", *shape, *sizes, "runtime=cpu", "runtime.threads=1", *words])
    return own(build(quiet(cfg)), Tracker(Path(tempfile.mkdtemp()), main=False))


def measured(axis: str, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Return a row for every point of an axis and precision."""
    points = [(each, way) for each in AXES[axis] for way in WAYS]
    ways = {point: turn({**BASE, axis: point[0]}, WAYS[point[1]]) for point in points}
    for step in ways.values():
        for _ in range(WARM):
            step()
    named: Any = ways
    found: Any = interleaved(named, rounds=rounds, seconds=seconds, wait=lambda: None, clock=time.process_time)
    rows = []
    for (each, way), step in ways.items():
        numbers, rate = {**BASE, axis: each}, statistics.median(found[each, way])
        spent = [f"{share:.3f}" for share in shares(step, rate, numbers["batch"])]
        row = {"axis": axis, **numbers, "precision": way, "images_per_cpu_s": f"{rate:.1f}"}
        rows.append(row | dict(zip(PARTS, spent)))
        print(*rows[-1].values(), flush=True)
    return rows


def figure(rows: list[dict[str, Any]], about: str) -> Any:
    """Draw images per second over each axis, and below it where the time of a turn goes in fp32."""
    drawing, axes = figures.panels(2, len(AXES), size=(4.2, 3.2))
    for column, axis in enumerate(AXES):
        upper, lower = axes[0][column], axes[1][column]
        for i, way in enumerate(WAYS):
            mine = [row for row in rows if (row["axis"], row["precision"]) == (axis, way)]
            at = [row[axis] for row in mine]
            upper.plot(at, [float(row["images_per_cpu_s"]) for row in mine], "o-", color=figures.COLOURS[i], label=way)
            parts = [[float(row[part]) for row in mine] for part in PARTS]
            if way == "bf16":
                lower.stackplot(at, parts, labels=PARTS, colors=figures.COLOURS[2:], alpha=0.8)
        fixed = ", ".join(f"{key} {value}" for key, value in BASE.items() if key != axis)
        figures.label(upper, fixed, LABELS[axis], "images per CPU second", legend=False)
        figures.label(lower, "what a turn in bf16 is spent on", LABELS[axis], "share of its CPU time", legend=False)
        for each in (upper, lower):
            each.set_xscale("log", base=2)
            each.set_xticks(AXES[axis], [str(number) for number in AXES[axis]])
        upper.set_yscale("log")
        lower.set_ylim(0, 1)
    axes[0][0].legend()
    axes[1][0].legend(fontsize=7, loc="lower right")
    drawing.suptitle(about)
    return drawing


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.2, help="of the process, per point and round, at least")
    parser.add_argument("--out", type=Path, default=Path("outputs/bench/curves"))
    told = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for axis in AXES for row in measured(axis, told.rounds, told.seconds)]
    told.out.mkdir(parents=True, exist_ok=True)
    with (told.out / f"{NAME}.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    machine = Runtime(torch.device("cpu")).machine()
    drawing = figure(rows, f"model=dcgan, {machine['device']}, one thread, torch {machine['torch']}")
    figures.save(drawing, told.out / f"{NAME}.png")
    print(f"-> {told.out / NAME}.png and .csv")


if __name__ == "__main__":
    main()
