"""The distance at full size against scipy's matrix square root, and the classifier on MNIST: time and agreement.

python tests/benchmarks/bench_fid.py [folder that holds MNIST/raw]
"""

import sys
import tempfile
import time
from collections.abc import Callable
from os import environ
from typing import Any

import numpy as np
import torch
from scipy import linalg

from gancli.data.torchvision import TorchvisionImages
from gancli.metrics.classifier import Classifier
from gancli.metrics.fid import fid
from gancli.metrics.moments import Gaussian, Moments

DIM, N, FEW = 2048, 10_000, 1000  # FEW: fewer images than features
ROUNDS = 2


def timed(what: str, function: Callable[[], Any]) -> Any:
    began = time.perf_counter()
    result = function()
    print(f"{what:<40}{time.perf_counter() - began:8.2f} s  {result if isinstance(result, float) else ''}", flush=True)
    return result


def features(n: int, seed: int) -> torch.Tensor:
    """Non-negative, with a mean and a decaying spectrum: (n, DIM) float32."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(n, DIM, generator=generator) * torch.logspace(0, -2, DIM) + 0.3).relu()


def gaussian(x: torch.Tensor) -> Gaussian:
    sums = Moments(DIM)
    for part in x.split(100):
        sums.update(part)
    return sums.gaussian()


def by_square_root(a: Gaussian, b: Gaussian) -> float:
    root = linalg.sqrtm(a.cov @ b.cov).real
    return float(((a.mean - b.mean) ** 2).sum() + np.trace(a.cov + b.cov - 2 * root))


def by_nuclear_norm(x: torch.Tensor, y: torch.Tensor) -> float:
    """The distance without any covariance, exact to rounding at any number of images."""
    x, y = x.double(), y.double()
    gap = (x.mean(0) - y.mean(0)).square().sum()
    x, y = ((each - each.mean(0)) / (len(each) - 1) ** 0.5 for each in (x, y))
    return float(gap + x.square().sum() + y.square().sum() - 2 * torch.linalg.svdvals(x @ y.T).sum())


def compare(n: int) -> None:
    """Print both ways' times in turns, their ratio (at most 0.2 is the aim) and how far they are from the truth."""
    print(f"== {n:,} against {n:,} images of {DIM} features, {torch.get_num_threads()} threads", flush=True)
    x, y = features(n, 1), features(n, 2)
    a, b = (timed("moments", lambda each=each: gaussian(each)) for each in (x, y))
    ways = {"fid, symmetric eigendecompositions": fid, "fid, scipy.linalg.sqrtm": by_square_root}
    wall, cpu, values = ({name: [] for name in ways} for _ in range(3))
    for _ in range(ROUNDS):
        for name, way in ways.items():
            began, busy = time.perf_counter(), time.process_time()
            values[name].append(way(a, b))
            wall[name].append(time.perf_counter() - began), cpu[name].append(time.process_time() - busy)
    for name in ways:
        print(f"{name:<40}{min(wall[name]):8.2f} s  {min(cpu[name]):6.2f} s of CPU  {values[name][0]}", flush=True)
    ours, theirs = ways
    ratio, busy = (min(each[ours]) / min(each[theirs]) for each in (wall, cpu))
    print(f"ratio {ratio:.3f}, of CPU time {busy:.3f}")
    truth = by_nuclear_norm(x, y) if n <= FEW else values[theirs][0]
    against = "the nuclear norm" if n <= FEW else "sqrtm"
    errors = "  ".join(f"{name.split()[-1]} {values[name][0] - truth:.1e}" for name in ways)
    print(f"error against {against}: {errors}", flush=True)


def accuracy(data: TorchvisionImages) -> float:
    features = Classifier()
    features.prepare(lambda: data.split("train"), torch.device("cpu"))
    test = data.split("test")
    pixels = torch.from_numpy(np.ascontiguousarray(test.pixels)).split(500)
    found = torch.cat([features(x)[1].argmax(1) for x in pixels])
    return float((found.numpy() == test.labels).mean())


def main() -> None:
    compare(N)
    compare(FEW)
    if len(sys.argv) > 1:
        with tempfile.TemporaryDirectory() as cache:
            environ["GANCLI_CACHE"] = cache  # or a trained classifier would be found
            data = TorchvisionImages("mnist", root=sys.argv[1])
            timed("classifier on MNIST, test accuracy", lambda: accuracy(data))


if __name__ == "__main__":
    main()
