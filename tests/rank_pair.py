"""Two processes that train, and check each other; training/test_ranks.py starts them once and reads what they found."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

import torch
from helpers import compose, overrides, tensors
from pairs import alone, main
from processes import until
from torch.overrides import TorchFunctionMode

from gancli import cli
from gancli.data.loader import Loader
from gancli.errors import Interrupted, TrainingDiverged
from gancli.training import chip, ranks
from gancli.training.build import build
from gancli.training.loop import train
from gancli.training.place import Group
from gancli.training.run import Run
from gancli.training.tracker import Tracker
from gancli.training.turn import run_turn

BATCH = 64
chip.BF16 = frozenset()  # of no CPU: runtime.precision=auto is fp32, as in conftest.py
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
    "cyclegan": ("cyclegan", ["optimizer=sgd", "optimizer.lr=2e-4", "loss.pool=0"], 2),
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


def trained(case: str, folder: Path) -> tuple[Run, dict[str, float]]:
    """Train a case in this process or in both, with the random numbers of one, and return its means."""
    model, settings, turns = CASES[case]
    run = build(compose("train", overrides(model, f"batch_size={BATCH}", "doctor.every=0", "images=6400", *settings)))
    tracker = Tracker(folder / "none", main=False, average=run.runtime.average)
    before = [p.detach().clone() for p in run.model.parameters()]
    torch.manual_seed(1)
    for each in (run.loader, run.loader._other):
        if each is not None:
            each._flips.manual_seed(2)  # the same in both
    with Parts(ranks.group()):
        for _ in range(turns):
            run_turn(run, tracker, measure=True)
    moved = max((p - was).abs().max().item() for p, was in zip(run.model.parameters(), before))
    return run, {**tracker.check(run.images), "moved": moved}


def state(run: Run) -> dict[str, torch.Tensor]:
    """Return all tensors of a run's networks, their averages and its loss."""
    return tensors({"model": run.model.state_dict(), "ema": run.ema.state_dict(), "loss": run.loss.state_dict()})


def compared(case: str, folder: Path) -> dict[str, float]:
    """Return the largest differences between both processes, and from one that has the whole batch."""
    run, means = trained(case, folder)
    states = state(run)
    both = ranks.gathered(states)
    if ranks.group().rank:
        return {}
    with alone():
        one, expected = trained(case, folder)
    whole = state(one)
    assert whole.keys() == states.keys() and means.keys() == expected.keys()
    return {
        "between": sum(not torch.equal(a, b) for a, b in zip(both[0].values(), both[1].values())),
        "weights": max((states[key].double() - whole[key].double()).abs().max().item() for key in whole),
        "means": max(abs(means[key] - expected[key]) / max(1, abs(expected[key])) for key in means),
        "moved": means["moved"],
    }


EVERY = ["data.resident=false", "data.workers=0", "data.flip=true", "loss.pool=8", "checkpoint.keep=9"]
EVERY += ["checkpoint.every=24", "log.every=24", "samples.every=96", "doctor.every=0", "schedule=constant"]
EVERY += ["features=pixels", "eval.metrics=[fid]", "eval.every=72", "eval.n=10"]


def seen(folder: Path) -> list[list[int]]:
    """Train by two processes, twice, by one, and by two again; return the images of each stage."""
    rows: list[int] = []
    own = Loader._index

    def noted(self: Loader) -> torch.Tensor:
        found = own(self)
        rows.extend(found.tolist() if self._other is not None else ())  # of the first of two domains
        return found

    Loader._index = noted  # type: ignore[method-assign]
    stages = []
    for images, both in ((48, True), (96, True), (120, False), (171, True)):
        rows.clear()
        went_on(folder, images, both=both)
        stages.append(sum(ranks.gathered(list(rows)), []))
    Loader._index = own  # type: ignore[method-assign]
    return stages


def went_on(folder: Path, images: int, *, both: bool = True) -> None:
    """Train a run, from its last checkpoint if there is one, until it has seen so many images."""
    resume = f"resume={folder}" if ranks.agreed(folder.exists()) else "resume=null"
    cfg = compose("train", overrides("cyclegan", f"images={images}", resume, *EVERY))
    if both:
        train(cfg, folder)
    elif ranks.group().rank == 0:
        with alone():
            train(cfg, folder)


def resumed_alike(folder: Path) -> list[str]:
    """Return what differs between checkpoints of a run that was resumed by two processes and of one that was not."""
    went_on(folder / "straight", 96)
    name = f"checkpoints/{96:012d}.pt"
    found = [tensors(torch.load(folder / run / name, weights_only=True)) for run in ("run", "straight")]
    different = [key for key in found[0] if not torch.equal(found[0][key], found[1][key])]
    return different + sorted(found[0].keys() ^ found[1].keys())


def told_of_signals() -> dict[str, Any]:
    """Return in which turn each process stops if a signal reaches the second one alone, before the fifth turn."""
    signals, rank = ranks.Signals(), ranks.group().rank
    for turn in range(10_000):
        if found := signals(signal.SIGTERM if rank and turn > 4 else 0, turn):
            break
    return {"turns": ranks.gathered(turn), "signal": found}


def stopped(folder: Path) -> list[str]:
    """Return how each process ends if a signal reaches the second one, after the first checkpoint."""
    cfg = compose("train", overrides("dcgan", "images=1M", "checkpoint.every=80", "samples.every=0", "doctor.every=0"))

    def ask() -> None:
        until(lambda: any(folder.glob("checkpoints/[0-9]*.pt")))
        os.kill(os.getpid(), signal.SIGUSR1)

    if ranks.group().rank:
        threading.Thread(target=ask).start()
    try:
        train(cfg, folder)
    except Interrupted as error:
        return ranks.gathered(f"{error.signum}: {error}")
    return ranks.gathered("done")


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
    code = cli.main(["train", *overrides("dcgan", "images=16", "log.every=8")])
    words = (["doctor", "latest"], ["eval", "latest", "n=no"], ["sample", "ckpt=latest", "nn=3"])
    wrong = [cli.main(each) for each in words]
    ranks.leave = leave
    return ranks.gathered([code, *wrong])


def checks(folder: Path) -> dict[str, Any]:
    """Make all checks and return what was found."""
    found: dict[str, Any] = {case: compared(case, folder) for case in CASES}
    found |= {"signals": told_of_signals(), "nan": told_of_nan(folder), "stages": seen(folder / "run")}
    found["stopped"] = stopped(folder / "stopped")
    found["resumed"] = resumed_alike(folder)
    found["codes"] = command_line(folder / "outputs", ranks.group())
    return found


if __name__ == "__main__":
    main(checks)
