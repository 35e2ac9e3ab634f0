"""How much faster than the usual sampler, the whole network for every pixel, LMConv's cached one is, in any order.

    make bench            # or: python tests/benchmarks/bench_lmconv.py [rounds]

As in bench_sampling.py: 28x28 binary images, batch 16, one thread, CPU seconds in turns, medians. Six gated blocks of
24 channels and the network of model=lmconv, each under one order at a time; that the images are equal is checked
against the Jacobi sampler.
"""

import statistics
import sys

import torch
from bench_sampling import BATCH, SIZE, STEPS, seconds, some_steps

from gancli.data.spec import ImageSpec
from gancli.models.lmconv import LMConv
from gancli.nn.likelihoods import Bernoulli
from gancli.nn.orders import CURVES

GOAL = 200
NETWORKS = {
    "6 blocks x 24": {"width": 24, "blocks": 3, "stages": 1},
    "model=lmconv": {"width": 16, "blocks": 1, "stages": 2},
}


def ratio(model: LMConv, order: torch.Tensor, noise: torch.Tensor, rounds: int) -> float:
    """Return the naive sampler's seconds over the cached one's, the median of rounds."""
    model.orders, found = order[None], []
    with model.following(order):
        images = model.from_noise(noise, sampler="cache")  # the first allocates
        assert torch.equal(images, model.from_noise(noise, sampler="jacobi")), "the cached sampler draws other images"
        for _ in range(rounds):
            naive = seconds(lambda: some_steps(model, noise)) * SIZE * SIZE / STEPS
            found.append(naive / seconds(lambda: model.from_noise(noise, sampler="cache")))
    return statistics.median(found)


def main(rounds: int = 3) -> int:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    orders = {name: curve(SIZE, SIZE) for name, curve in CURVES.items()} | {"random": torch.randperm(SIZE * SIZE)}
    print(f"{'network':16} {'order':12} {'x naive':>8} {'goal':>6}   torch {torch.__version__}, CPU", flush=True)
    met = []
    for network, sizes in NETWORKS.items():
        model = LMConv(ImageSpec(1, SIZE, SIZE, levels=2), Bernoulli, orders=1, **sizes)
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        model.eval()
        noise = model.noise(BATCH, torch.Generator().manual_seed(0))
        for name, order in orders.items():
            met.append(ratio(model, order, noise, rounds))
            print(f"{network:16} {name:12} {met[-1]:8.0f} {GOAL:6}", flush=True)
    return 0 if min(met) >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
