"""What the doctor costs: an examination against the training between two of them (doctor.every of conf/train.yaml).

    make bench            # or: python tests/benchmarks/bench_doctor.py [steps]

Both are timed in one process and in turns, so that a busy machine slows both alike. Off it costs nothing: a step has
the same operations with and without it (tests/training/doctor/test_measurements.py).
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from gancli.config import compose
from gancli.training.build import build
from gancli.training.tracker import Tracker
from gancli.training.turn import run_turn

ROUNDS = 9
SHAPE = ["data=fake", "data.n=10000", "data.size=28", "data.channels=1", "batch_size=64", "optimizer=adam"]


def seconds(step: Callable[[], None], steps: int) -> float:
    start = time.perf_counter()
    for _ in range(steps):
        step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def share(name: str, steps: int, *more: str) -> None:
    """Print one model's row: seconds of a step and of an examination, and the share of the one in the others' time."""
    parts = build(compose("train", [f"model={name}", *SHAPE, "schedule=constant", *more]))
    tracker = Tracker(Path(tempfile.mkdtemp()))

    def step() -> None:
        run_turn(parts, tracker, measure=False)

    def examine() -> None:
        tracker.add(parts.measurements.measure(0.5))

    seconds(step, 5), seconds(examine, 2)
    start, turn = parts.images, []
    for _ in range(ROUNDS):
        turn.append((seconds(step, steps) / steps, seconds(examine, 1)))
        tracker.tick(parts.images)
    per_step = (parts.images - start) / (ROUNDS * steps)  # images: n_critic batches of some
    ratio = statistics.median(examination / (one * parts.cfg.doctor.every / per_step) for one, examination in turn)
    one, examination = (statistics.median(each) for each in zip(*turn))
    print(f"{name:10} {1e3 * one:9.1f} {1e3 * examination:15.1f} {ratio:9.2%}", flush=True)


def main(steps: int) -> None:
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    print(f"{'model':10} {'step, ms':>9} {'examination, ms':>15} {'share':>9}   torch {torch.__version__}, {where}")
    for name in ("mlp_gan", "dcgan", "sngan", "wgan_gp", "pixelcnn"):
        share(name, steps, *(["data.binarise=dynamic"] if name == "pixelcnn" else []))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
