"""How much faster than the usual sampler, the whole network for every pixel, the cached ones draw the same images.

    make bench            # or: python tests/benchmarks/bench_sampling.py

28x28 binary images, batch 16, one thread. CPU seconds of this process, in turns, medians: a busy machine slows all
alike, and the ratios are what counts. A run of the naive sampler is so many forwards of the same network that only
STEPS of them, evenly spaced, are timed and multiplied. The cached samplers are timed whole: reading the weights, all
steps, and the forward that checks them; not timed is the first batch of a size, which plans and allocates. That the
images are equal is shown on two of them.
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch

from gancli.data.spec import ImageSpec
from gancli.models.autoregressive import Autoregressive
from gancli.models.pixelcnn import PixelCNN
from gancli.nn.likelihoods import Bernoulli

ROUNDS, STEPS, BATCH, SIZE = 7, 14, 16, 28
GOALS = {"cache": (50, 100), "wavefront": (150, 250)}


def seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


@torch.inference_mode()
def some_steps(model: Autoregressive, noise: torch.Tensor) -> None:
    """Do every so many steps of the naive sampler as it does them."""
    stepper = model.stepper("naive", noise.new_zeros(len(noise), *model.spec.shape), None)
    rows = stepper.rows(noise).split(len(noise))
    for step in range(0, SIZE * SIZE, SIZE * SIZE // STEPS):
        stepper.put(step, model.likelihood.sample(stepper.params(step), rows[step]))


def compare(name: str, model: Autoregressive, goals: dict[str, int]) -> bool:
    """Print a row per sampler; return whether all goals are met."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model.eval()
    noise = model.noise(BATCH, torch.Generator().manual_seed(0))
    naive = model.from_noise(noise[:2], sampler="naive")
    times: dict[str, list[float]] = {"naive": [], **{sampler: [] for sampler in goals}}
    for sampler in goals:
        assert torch.equal(model.from_noise(noise[:2], sampler=sampler), naive), f"{sampler} draws other images"
    for _ in range(ROUNDS):
        times["naive"].append(seconds(lambda: some_steps(model, noise)) * SIZE * SIZE / STEPS)
        for sampler in goals:
            model.from_noise(noise, sampler=sampler)  # the first of a size allocates
            times[sampler].append(seconds(lambda sampler=sampler: model.from_noise(noise, sampler=sampler)))
    usual = statistics.median(times["naive"])
    for sampler, goal in goals.items():
        ratio = statistics.median(n / s for n, s in zip(times["naive"], times[sampler]))
        print(
            f"{name:24} {sampler:10} {usual / statistics.median(times[sampler]):8.0f} {ratio:8.0f} {goal:6}", flush=True
        )
    return all(usual / statistics.median(times[s]) >= goal for s, goal in goals.items())


def main() -> int:
    torch.set_num_threads(1)
    print(
        f"{'network':24} {'sampler':10} {'x naive':>8} {'paired':>8} {'goal':>6}   torch {torch.__version__}, CPU",
        flush=True,
    )
    met = []
    for i, (blocks, width) in enumerate([(7, 16), (15, 32)]):
        torch.manual_seed(0)
        model = PixelCNN(ImageSpec(1, SIZE, SIZE, levels=2), Bernoulli, width=width, blocks=blocks)
        met.append(compare(f"pixelcnn {blocks} x {width}/{2 * width}", model, {k: v[i] for k, v in GOALS.items()}))
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
