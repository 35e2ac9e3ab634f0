"""What the loop costs: images/s of gancli's step against a bare loop with the same networks, batch and precision.

    make bench            # or: python tests/benchmarks/bench_loop.py [seconds of a round]

Both train in one process and in turns, so that a busy machine slows both alike; the ratio is what counts (1 = no cost).
`gancli bench compare=bare` measures the same for any plain GAN.
"""

import statistics
import sys
import tempfile
from pathlib import Path

import torch

from gancli.config import compose
from gancli.training.build import build
from gancli.training.tracker import Tracker
from gancli.verbs.bench.loops import bare, own
from gancli.verbs.bench.timing import interleaved

ROUNDS, WARM = 9, 5
SHAPE = ["data=fake", "data.n=10000", "data.size=28", "data.channels=1", "batch_size=64"]
PLAIN = ["penalty=[]", "optimizer=adam", "schedule=constant"]  # the bare loop has no penalty


def compare(name: str, seconds: float) -> None:
    """Print one model's row."""
    ours, twin = (build(compose("train", [f"model={name}", *SHAPE, *PLAIN])) for _ in range(2))
    ways = {"bare": bare(twin), "gancli": own(ours, Tracker(Path(tempfile.mkdtemp())))}
    for step in ways.values():
        for _ in range(WARM):
            step()
    rounds = interleaved(ways, rounds=ROUNDS, seconds=seconds, wait=ours.runtime.wait)
    rates = {key: statistics.median(value) for key, value in rounds.items()}
    ratio = statistics.median(g / b for b, g in zip(rounds["bare"], rounds["gancli"]))
    print(f"{name:10} {rates['bare']:12,.0f} {rates['gancli']:13,.0f} {ratio:7.3f}", flush=True)


def main(seconds: float) -> None:
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    print(
        f"{'model':10} {'bare img/s':>12} {'gancli img/s':>13} {'ratio':>7}   torch {torch.__version__}, {where}",
        flush=True,
    )
    for name in ("toy_gan", "mlp_gan", "dcgan"):  # the first: what the loop costs where a step is smallest
        compare(name, seconds)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
