"""What the loop costs: images/s of gancli's step against a bare loop with the same networks, batch and precision.

    make bench            # or: python tests/benchmarks/bench_loop.py [steps]

Both train in one process and in turns, so that a busy machine slows both alike; the ratio is what counts (1 = no cost).
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import softplus

from gancli.config import compose
from gancli.training.build import build
from gancli.training.loop import run_turn
from gancli.training.tracker import Tracker

ROUNDS = 9


def bare(parts, pixels: torch.Tensor, batch_size: int, lr: float) -> Callable[[], None]:
    """Return one step as anyone would write it for these two networks: Algorithm 1 of Goodfellow et al. 2014."""
    model, ema = parts.model, parts.ema.model
    g, d = model.generator, model.discriminator
    d_opt = torch.optim.Adam(d.parameters(), lr, betas=(0.5, 0.999), fused=True)
    g_opt = torch.optim.Adam(g.parameters(), lr, betas=(0.5, 0.999), fused=True)
    where = pixels.device
    state = {"order": torch.randperm(len(pixels), device=where), "at": 0}
    averaged = list(zip(ema.generator.parameters(), g.parameters()))

    def step() -> None:
        if state["at"] + batch_size > len(pixels):
            state["order"], state["at"] = torch.randperm(len(pixels), device=where), 0
        rows = state["order"][state["at"] : state["at"] + batch_size]
        state["at"] += batch_size
        real = pixels[rows].float().div_(127.5).sub_(1)
        d_opt.zero_grad()
        with torch.no_grad():
            fake = model.generate(model.latent(batch_size))
        (softplus(-model.score(real)).mean() + softplus(model.score(fake)).mean()).backward()
        d_opt.step()
        g_opt.zero_grad()
        d.requires_grad_(False)
        softplus(-model.score(model.generate(model.latent(batch_size)))).mean().backward()
        d.requires_grad_(True)
        g_opt.step()
        with torch.no_grad():
            for average, weight in averaged:
                average.lerp_(weight, 0.01)

    return step


def seconds(step: Callable[[], None], steps: int) -> float:
    start = time.perf_counter()
    for _ in range(steps):
        step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(name: str, steps: int) -> None:
    """Print one model's row."""
    shape = [
        "data=fake",
        "data.n=10000",
        "data.size=28",
        "data.channels=1",
        "batch_size=64",
        "penalty=[]",  # the bare loop has none
        "optimizer=adam",
        "schedule=constant",
    ]
    ours, twin = (build(compose("train", [f"model={name}", *shape])) for _ in range(2))
    pixels = torch.from_numpy(np.array(twin.source.split("train").pixels)).to(twin.runtime.device)
    tracker = Tracker(Path(tempfile.mkdtemp()))
    competitors = {"bare": bare(twin, pixels, 64, 2e-4), "gancli": lambda: run_turn(ours, tracker, measure=False)}
    times = {key: [] for key in competitors}
    for step in competitors.values():
        seconds(step, 5)
    for _ in range(ROUNDS):
        for key, step in competitors.items():
            times[key].append(seconds(step, steps))
        tracker.tick(ours.images)
    rates = {key: 64 * steps / statistics.median(value) for key, value in times.items()}
    ratio = statistics.median(b / g for b, g in zip(times["bare"], times["gancli"]))
    print(f"{name:10} {rates['bare']:12,.0f} {rates['gancli']:13,.0f} {ratio:7.3f}", flush=True)


def main(steps: int) -> None:
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    print(
        f"{'model':10} {'bare img/s':>12} {'gancli img/s':>13} {'ratio':>7}   torch {torch.__version__}, {where}",
        flush=True,
    )
    for name in ("toy_gan", "mlp_gan", "dcgan"):  # the first: what the loop costs where a step is smallest
        compare(name, steps)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
