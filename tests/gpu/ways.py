"""Ways to train the same networks, for the stages of check.py: gancli, a bare loop, a loop as tutorials write it."""

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from helpers import compose

from gancli.training.build import build
from gancli.training.run import Run
from gancli.training.turn import run_turn
from gancli.verbs.bench import textbook
from gancli.verbs.bench.loops import bare
from gancli.verbs.bench.timing import interleaved

PLAIN = ["penalty=[]", "optimizer=adam", "schedule=constant", "data=fake", "data.n=10000"]  # what bare() does, too
BENCHED = {  # name: settings, batch, whether bare() is the same training
    "mlp_gan": (["model=mlp_gan", "data.size=28", "data.channels=1", *PLAIN], 100, True),
    "dcgan-32": (["model=dcgan", "data.size=32", "data.channels=3", *PLAIN], 64, True),
    "wgan_gp-32": (["model=wgan_gp", "data=fake", "data.n=10000", "data.size=32", "data.channels=3"], 64, False),
    "dcgan-64 bf16": (
        ["model=dcgan", "data.size=64", "data.channels=3", *PLAIN, "runtime.precision=bf16",
         "runtime.channels_last=true"],
        512, True,
    ),
    "cyclegan-128": (
        ["model=cyclegan", "data=unpaired", "data/a=fake", "data/b=fake",
         *(f"data.{side}.{key}" for side in "ab" for key in ("size=128", "n=200")), "data.b.seed=1"],
        1, False,
    ),
}  # fmt: skip

Step = Callable[[], int]  # one turn; returns how many images it saw


class Silent:
    """Takes scalars and keeps none."""

    def add(self, scalars: Any) -> None: ...


def made(told: argparse.Namespace, settings: list[str], batch: int, *more: str) -> Run:
    own = [f"runtime={told.device}", f"batch_size={batch}", "samples.every=0", "doctor.every=0"]
    return build(compose("train", [own[0], *settings, *own[1:], *more]))


def ours(told: argparse.Namespace, name: str, *more: str) -> Step:
    settings, batch, _ = BENCHED[name]
    run = made(told, settings, 8 if told.quick else batch, *more)

    def step() -> int:
        before = run.images
        run_turn(run, Silent(), measure=False)
        return run.images - before

    return step


def ways(told: argparse.Namespace, name: str) -> dict[str, Step]:
    """Return the ways to train a model. The textbook's batch is its own, 128, and it computes in float32."""
    settings, batch, is_plain = BENCHED[name]
    batch = 8 if told.quick else batch
    found = {"gancli": ours(told, name), "gancli, graphs": ours(told, name, "runtime.graphs=true")}
    if is_plain:
        twin = made(told, settings, batch)
        found["bare"] = bare(twin)
    if name == "dcgan-32":
        for workers in (0, 2):
            pixels = np.array(twin.source.split("train").pixels)
            training = textbook.train(pixels, workers, told.device)
            found[f"textbook, {workers} workers"] = lambda each=training: next(each) and textbook.BATCH
    return found


def rates(steps: dict[str, Step], told: argparse.Namespace, wait: Callable[[Any], None]) -> dict[str, Any]:
    """Return images per second of each way: medians over interleaved rounds, all rounds, and what failed."""
    rounds, length, warm = (1, 0.01, 1) if told.quick else (5, 1.0, 6)
    failed: dict[str, str] = {}
    for name, step in list(steps.items()):
        try:
            for _ in range(warm):
                step()
        except Exception as error:  # one way that fails is a result; the others go on
            failed[name] = f"{type(error).__name__}: {error}"[:400]
            del steps[name]
    found = interleaved(steps, rounds=rounds, seconds=length, wait=partial(wait, told))
    return {
        "images_per_s": {name: round(statistics.median(each), 1) for name, each in found.items()},
        "rounds": found, "failed": failed,
    }  # fmt: skip
