"""Two processes in one group that check each other; training/test_ranks.py starts them once and reads what they found.

What is found is written as JSON by the first one: ``python rank_pair.py RANK FOLDER``.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from helpers import compose, overrides, tensors
from torch.overrides import TorchFunctionMode

from gancli.cli import main
from gancli.data.loader import Loader
from gancli.errors import TrainingDiverged
from gancli.training import ranks
from gancli.training.build import build
from gancli.training.loop import train
from gancli.training.place import Group
from gancli.training.run import Run, run_turn
from gancli.training.tracker import Tracker

BATCH = 64
SGD = ["optimizer=sgd", "optimizer.lr=0.01"]
SYNC = ["runtime.sync_bn=true"]
CASES = {  # name -> model, settings, turns
    "toy_gan": ("toy_gan", ["penalty=gradient_penalty"], 10),
    "wgan_gp": ("wgan_gp", [*SGD, *SYNC], 2),
    "wgan_gp without sync_bn": ("wgan_gp", SGD, 2),
    "dcgan": ("dcgan", [*SGD, *SYNC, "penalty=r1", "loss.penalties.r1.gamma=1"], 2),  # through batch norm, twice
    "relativistic": ("dcgan", [*SGD, *SYNC, "loss=relativistic", "penalty=dragan"], 2),
    "ada": ("dcgan", [*SGD, *SYNC, "stabilizer=ada", "loss.stabilizers.ada.speed=1000"], 5),
    "pixelcnn": ("pixelcnn", SGD, 3),
    "cyclegan": ("cyclegan", [*SGD, "loss.pool=0"], 2),
    "free bits": ("vae_conv", [*SGD, "loss.free_bits=0.1"], 3),
}


class Parts(TorchFunctionMode):
    """Draws what one process would draw for the whole batch, and returns the part of this process.

    It has the numbers rank, rank + world, ... of the first axis that is as long as its batch, as the loader's images.
    """

    ALIKE = {torch.rand_like: torch.rand, torch.randn_like: torch.randn}

    def __init__(self, place: Group) -> None:
        super().__init__()
        self.place, self.own = place, BATCH // place.world

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in self.ALIKE:
            like = args[0]
            func, args, kwargs = self.ALIKE[func], tuple(like.shape), {"dtype": like.dtype, "device": like.device}
        if func not in (torch.rand, torch.randn, torch.randint):
            return func(*args, **kwargs)
        between = () if func is not torch.randint else args[:-1]
        shape = list(args[-1] if isinstance(args[-1], (tuple, list)) else args)
        if self.own not in shape:
            return func(*args, **kwargs)
        axis = shape.index(self.own)
        shape[axis] = BATCH
        found = func(*between, tuple(shape), **kwargs).unflatten(axis, (self.own, self.place.world))
        return found.select(axis + 1, self.place.rank)


@contextmanager
def alone() -> Iterator[None]:
    """Let this process be the only one."""
    before, ranks._group = ranks._group, Group()
    try:
        yield
    finally:
        ranks._group = before


def trained(case: str, folder: Path) -> tuple[Run, dict[str, float]]:
    """Train a case in this process or in both, with the random numbers of one, and return its means."""
    model, settings, turns = CASES[case]
    run = build(compose("train", overrides(model, f"batch_size={BATCH}", "doctor.every=0", "images=6400", *settings)))
    tracker = Tracker(folder / "none", main=False, average=run.runtime.average)
    torch.manual_seed(1)
    for each in (run.loader, run.loader._other):
        if each is not None:
            each._flips.manual_seed(2)  # the same in both
    with Parts(ranks.group()):
        for _ in range(turns):
            run_turn(run, tracker, measure=True)
    return run, tracker.check(run.images)


def compared(case: str, folder: Path) -> dict[str, float]:
    """Return the largest differences between both processes, and from one that has the whole batch."""
    run, means = trained(case, folder)
    states = {
        **tensors(run.model.state_dict()),
        **tensors(run.ema.state_dict(), "ema."),
        **tensors(run.loss.state_dict()),
    }
    both = ranks.gathered(states)
    if ranks.group().rank:
        return {}
    with alone():
        one, expected = trained(case, folder)
    whole = {
        **tensors(one.model.state_dict()),
        **tensors(one.ema.state_dict(), "ema."),
        **tensors(one.loss.state_dict()),
    }
    assert whole.keys() == states.keys() and means.keys() == expected.keys()
    return {
        "between": sum(not torch.equal(a, b) for a, b in zip(both[0].values(), both[1].values())),
        "weights": max((states[key].double() - whole[key].double()).abs().max().item() for key in whole),
        "means": max(abs(means[key] - expected[key]) / max(1, abs(expected[key])) for key in means),
        "moved": run.images,
    }


def seen(folder: Path) -> list[list[int]]:
    """Train with two processes, go on with one and then with two again; return the images in the order of the stages."""
    rows: list[int] = []
    own = Loader._index

    def noted(self: Loader) -> torch.Tensor:
        found = own(self)
        rows.extend(found.tolist())
        return found

    Loader._index = noted  # type: ignore[method-assign]
    every = ["checkpoint.every=24", "log.every=24", "samples.every=24", "doctor.every=24", "checkpoint.keep=9"]
    every += [
        "data.resident=false",
        "data.workers=0",
        "data.flip=true",
        "eval.every=48",
        "eval.n=10",
        "features=pixels",
    ]
    stages = []
    for images, both in ((48, True), (72, False), (120, True)):
        rows.clear()
        resume = f"resume={folder}" if stages else "resume=null"
        cfg = compose("train", overrides("dcgan", f"images={images}", resume, *every))
        if both:
            train(cfg, folder)
        elif ranks.group().rank == 0:
            with alone():
                train(cfg, folder)
        stages.append(sum(ranks.gathered(list(rows)), []))
    Loader._index = own  # type: ignore[method-assign]
    return stages


def told_of_signals() -> dict[str, Any]:
    """Return in which turn each process stops if a signal reaches the second one alone, before the fifth turn."""
    signals, rank = ranks.Signals(), ranks.group().rank
    for turn in range(10_000):
        if found := signals(signal.SIGTERM if rank and turn > 4 else 0, turn):
            break
    return {"turns": ranks.gathered(turn), "signal": found}


def told_of_nan(folder: Path) -> list[str]:
    """Return what each process says if the loss of the second one is not finite."""
    run = build(compose("train", overrides("dcgan")))
    tracker = Tracker(folder / "none", main=False, average=run.runtime.average)
    nan = torch.tensor(float("nan"))
    tracker.add({"loss/generator": torch.ones(()), "generator/fake": nan if ranks.group().rank else torch.ones(())})
    try:
        tracker.tick(8)
    except TrainingDiverged as error:
        return ranks.gathered(str(error))
    return ranks.gathered("nothing")


def command_line(folder: Path, place: Group) -> list[int]:
    """Return the exit codes of a command line that torchrun starts, by rank."""
    os.environ |= {"RANK": str(place.rank), "WORLD_SIZE": str(place.world), "LOCAL_RANK": str(place.rank)}
    os.environ["GANCLI_OUTPUTS"] = str(folder)
    leave, ranks.leave = ranks.leave, lambda: None
    code = main(["train", *overrides("dcgan", "images=16", "log.every=8")])
    wrong = main(["eval", "ckpt=latest"])
    ranks.leave = leave
    return ranks.gathered([code, wrong])


def checks(rank: int, folder: Path) -> None:
    """Make all checks and write what was found."""
    torch.set_num_threads(1)
    place = Group(rank, 2, rank)
    ranks.join(place, f"file://{folder / 'meeting'}")
    found: dict[str, Any] = {case: compared(case, folder) for case in CASES}
    found |= {"signals": told_of_signals(), "nan": told_of_nan(folder), "stages": seen(folder / "run")}
    found["codes"] = command_line(folder / "outputs", place)
    if rank == 0:
        (folder / "found.json").write_text(json.dumps(found))
    ranks.leave()


if __name__ == "__main__":
    checks(int(sys.argv[1]), Path(sys.argv[2]))
