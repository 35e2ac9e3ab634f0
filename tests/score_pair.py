"""Two processes that score and sample together; training/test_shared_scores.py starts them once and reads the rest."""

import os
import signal
from pathlib import Path
from typing import Any

from helpers import compose, overrides
from pairs import first_alone, main

from gancli.errors import Interrupted
from gancli.metrics.scoring.base import Scoring, Settings
from gancli.models.shares import Passing
from gancli.training import checkpoint, chip, ranks
from gancli.training.loop import train
from gancli.verbs.evaluate.run import evaluate
from gancli.verbs.sample.run import sample

chip.BF16 = frozenset()  # of no CPU: runtime.precision=auto is fp32, as in conftest.py
Settings.features_batch = property(lambda self: 2 * self.batch_size)  # type: ignore[assignment]  # few images are shared
Scoring.batch_of = staticmethod(lambda model, trained: 8)  # type: ignore[method-assign]
QUIET = ["doctor.every=0", "samples.every=0"]
DRAWN = ["fid", "memorisation"]
BOUNDS = ["nll", "elbo", "iwae", "active_units", "rfid", "psnr"]
SCORED = {  # model -> metrics
    "cdcgan": DRAWN, "pixelcnn": [*DRAWN, "nll"], "vae_conv": [*DRAWN, *BOUNDS], "hvae": [*DRAWN, *BOUNDS],
    "vqvae": ["nll", "perplexity", "code_nats"], "stylegan2": ["path_length"], "lapgan": ["fid"],
    "cyclegan": ["fid"], "pix2pix": ["fid"], "stargan": ["fid"],
}  # fmt: skip
TRANSLATIONS = ("cyclegan", "pix2pix", "stargan")
SAMPLED = ("cdcgan", "pixelcnn", "vae_conv", "hvae")
WORDS = ["features=pixels", "n=45", "batch_size=8", "floor=false", "repeats=2", "again=true", "runtime=cpu"]


class Counted:
    """Counts the batches that this process computes of those that are shared; may do something at one of them."""

    def __init__(self) -> None:
        self.own, self.at, self.call = 0, 0, lambda: None
        self.does = Passing.__call__
        Passing.__call__ = self._counted(self.does)  # type: ignore[method-assign]

    def _counted(self, does: Any) -> Any:
        def called(passing: Passing, *args: Any) -> Any:
            found = does(passing, *args)
            self.own += found is not None
            if self.at and self.own == self.at:
                self.at = 0
                self.call()
            return found

        return called

    def end(self) -> int:
        """Stop counting and return the number."""
        Passing.__call__ = self.does  # type: ignore[method-assign]
        return self.own


def scored(folder: Path) -> dict[str, Any]:
    """Score a checkpoint of every kind by both processes and by one, and sample some; return what is found."""
    found: dict[str, Any] = {}
    for model, metrics in SCORED.items():
        run = folder / model
        first_alone(lambda: train(compose("train", overrides(model, "images=16", *QUIET)), run))  # noqa: B023
        counted = Counted()
        both = score(run, metrics)
        computed = ranks.gathered(counted.end())
        one = first_alone(lambda: score(run, metrics))  # noqa: B023
        found[model] = {"both": both, "one": one, "computed": computed}
        if model in SAMPLED:
            found[model] |= sampled(run, folder / f"{model}-both", folder / f"{model}-one")
    return found


def score(run: Path, metrics: list[str]) -> dict[str, float]:
    """Return the scores of a run, by k=3 codes where bounds ask for several, of enough images of each domain."""
    own = ["sampling={k:3}"] * ("iwae" in metrics) + ["split=train"] * (run.name in TRANSLATIONS)
    return evaluate(compose("eval", [f"ckpt={run}", f"metrics=[{','.join(metrics)}]", *WORDS, *own]))


def sampled(run: Path, *folders: Path) -> dict[str, int]:
    """Write samples by both processes and by one; return the number of files, and of those that differ."""
    both, one = ([f"ckpt={run}", "n=21", "batch_size=8", f"out={out}", "runtime=cpu"] for out in folders)
    sample(compose("sample", both))
    first_alone(lambda: sample(compose("sample", one)))
    files = [sorted(each.glob("*.png")) for each in folders]
    if ranks.group().rank:
        return {}
    same = [a.name == b.name and a.read_bytes() == b.read_bytes() for a, b in zip(*files, strict=True)]
    return {"files": len(same), "different": same.count(False)}


EVAL = ["features=pixels", "eval.metrics=[fid,nll,elbo]", "eval.n=45", "eval.split=train", "images=16", *QUIET]


def during_training(folder: Path) -> dict[str, Any]:
    """Train by both processes, with an evaluation at the end; return its scores, and those of gancli eval by one."""
    counted = Counted()
    found = train(compose("train", overrides("vae_conv", *EVAL, "eval.every=16")), folder)
    computed = ranks.gathered(counted.end())
    words = [
        f"ckpt={folder}",
        "metrics=[fid,nll,elbo]",
        "features=pixels",
        "n=45",
        "batch_size=8",
        "split=train",
        "floor=false",
    ]
    one = first_alone(lambda: evaluate(compose("eval", [*words, "again=true", "runtime=cpu"])))
    scores = {key.removeprefix("eval/"): value for key, value in found.items() if key.startswith("eval/")}
    return {"both": scores, "one": one, "computed": computed}


def stopped(folder: Path) -> dict[str, Any]:
    """Let a signal reach one of both while they evaluate, then resume; return how each ended, and what was owed."""
    found: dict[str, Any] = {}
    for told in (0, 1):
        run = folder / str(told)
        counted = Counted()
        if ranks.group().rank == told:
            counted.at, counted.call = 2, lambda: os.kill(os.getpid(), signal.SIGUSR1)
        end = "done"
        try:
            train(compose("train", overrides("vae_conv", *EVAL, "eval.every=8", "checkpoint.every=8")), run)
        except Interrupted as error:
            end = f"{error.signum} at {str(error).split('saved at ')[1].split(';')[0]}"
        counted.end()
        ends = ranks.gathered(end)
        owed = checkpoint.load(run).state["owed"] if not ranks.group().rank else None
        again = train(compose("train", overrides("vae_conv", *EVAL, "eval.every=8", f"resume={run}")), run)
        found[str(told)] = {"ends": ends, "owed": owed, "again": sorted(again)}
    return found


def checks(folder: Path) -> dict[str, Any]:
    """Make all checks and return what was found."""
    found = {"scored": scored(folder / "scored"), "trained": during_training(folder / "trained")}
    return {**found, "stopped": stopped(folder / "stopped")}


if __name__ == "__main__":
    main(checks)
