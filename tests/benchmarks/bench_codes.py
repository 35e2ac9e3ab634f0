"""What sampling from a model of codes costs beside its parts: the prior's wavefront, and the decoder alone.

    make bench            # or: python tests/benchmarks/bench_codes.py

The recipes' sizes, 28x28 binary images, batch 64, one thread. CPU seconds of this process, in turns, medians: a busy
machine slows all alike, and the ratio is what counts. sample() draws noise, codes by the prior's wavefront, their
vectors, and means of pixels; the parts are from_noise() of the prior (of both priors, with the stack over the top) and
decode(). The first batch of a size, which plans and allocates, is not timed.
"""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import torch

from gancli.data.spec import ImageSpec
from gancli.models.discrete import DiscreteLatents
from gancli.models.gated_pixelcnn import GatedPixelCNN
from gancli.models.vqvae import VQVAE
from gancli.models.vqvae2 import VQVAE2
from gancli.nn.likelihoods import Bernoulli
from gancli.nn.quantisers import FSQ

ROUNDS, BATCH, GOAL = 9, 64, 1.5
PRIOR = partial(GatedPixelCNN, width=32, blocks=6, head=64, kernel=7, inner=3)
SPEC = ImageSpec(1, 28, 28, num_classes=10, levels=2)


def seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def priors(model: DiscreteLatents, label: torch.Tensor) -> None:
    """Draw the codes of a batch from noise that is given, by the wavefront."""
    maps = model.prior_network.from_noise(NOISE[0], label)
    if isinstance(model, VQVAE2):
        top = model.grid.level(maps).long()[:, 0]
        model.bottom_prior.network.from_noise(NOISE[1], model.bottom_prior.given(top, label, NOISE[1]))


@torch.no_grad()
def compare(model: DiscreteLatents) -> bool:
    """Print the times of the parts and of sample(), and their ratio; return whether it meets the goal."""
    model.eval().requires_grad_(False)
    model.enter(True)
    label = torch.arange(BATCH) % 10
    maps = [network.spec for network in _networks(model)]
    NOISE[:] = [torch.rand(BATCH, 1, spec.height, spec.width) for spec in maps]
    z = model.prior(BATCH, label=label)
    runs = {
        "prior": lambda: priors(model, label),
        "decoder": lambda: model.decode(z),
        "sample": lambda: model.sample(BATCH, label=label),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(ROUNDS + 1):
        for name, run in runs.items():
            spent = seconds(run)
            if turn:
                times[name].append(spent)
    ratio = statistics.median(s / (p + d) for s, p, d in zip(times["sample"], times["prior"], times["decoder"]))
    each = "  ".join(f"{name} {1000 * statistics.median(found) / BATCH:.2f} ms" for name, found in times.items())
    print(f"{type(model).__name__}: an image {each}  ratio {ratio:.2f} (goal: below {GOAL})")
    return ratio < GOAL


def _networks(model: DiscreteLatents) -> list[GatedPixelCNN]:
    return [model.prior_network, *([model.bottom_prior.network] if isinstance(model, VQVAE2) else [])]


NOISE: list[torch.Tensor] = []

if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    good = [compare(make(SPEC, Bernoulli, FSQ([8, 6, 5]), PRIOR)) for make in (VQVAE, VQVAE2)]
    sys.exit(0 if all(good) else 1)
