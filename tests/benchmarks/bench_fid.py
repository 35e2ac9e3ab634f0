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
from gancli.metrics.moments import Moments

DIM, N = 2048, 10_000


def timed(what: str, function: Callable[[], Any]) -> Any:
    began = time.perf_counter()
    result = function()
    print(f"{what:<40}{time.perf_counter() - began:8.2f} s  {result if isinstance(result, float) else ''}", flush=True)
    return result


def stream(seed: int) -> Moments:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.logspace(0, -2, DIM)
    sums = Moments(DIM)
    for _ in range(N // 100):
        sums.update((torch.randn(100, DIM, generator=generator) * scale + 0.3).relu())
    return sums


def by_square_root(a: Any, b: Any) -> float:
    root = linalg.sqrtm(a.cov @ b.cov).real
    return float(((a.mean - b.mean) ** 2).sum() + np.trace(a.cov + b.cov - 2 * root))


def accuracy(data: TorchvisionImages) -> float:
    features = Classifier()
    features.prepare(lambda: data.split("train"), torch.device("cpu"))
    test = data.split("test")
    pixels = torch.from_numpy(np.ascontiguousarray(test.pixels)).split(500)
    found = torch.cat([features(x)[1].argmax(1) for x in pixels])
    return float((found.numpy() == test.labels).mean())


def main() -> None:
    a, b = (timed(f"moments of {N} x {DIM}", lambda seed=seed: stream(seed)).gaussian() for seed in (1, 2))
    ours = timed("fid, symmetric eigendecompositions", lambda: fid(a, b))
    theirs = timed("fid, scipy.linalg.sqrtm", lambda: by_square_root(a, b))
    print(f"difference {ours - theirs:.2e}")
    if len(sys.argv) > 1:
        with tempfile.TemporaryDirectory() as cache:
            environ["GANCLI_CACHE"] = cache  # or a trained classifier would be found
            data = TorchvisionImages("mnist", root=sys.argv[1])
            timed("classifier on MNIST, test accuracy", lambda: accuracy(data))


if __name__ == "__main__":
    main()
