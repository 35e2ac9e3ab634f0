"""Kill runs at random moments, resume them, and compare their ends with those of runs that were never interrupted.

python tests/kills.py --n 100 --seed 0        (make kills N=100 SEED=0)
"""

import argparse
import importlib
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from helpers import overrides
from histories import differences, told

from gancli.cli import main
from gancli.training import checkpoint, loop

SCORED = ["eval.every=48", "eval.n=12", "data.validation=12", "features.epochs=1"]
KINDS = {
    "dcgan": overrides("dcgan", *SCORED),
    "cgan": overrides("cgan", *SCORED),
    "wgan_gp": overrides("wgan_gp", "loss.repeat=2", "eval.every=0"),
    "sngan": overrides("sngan", "ema.half_life=0", "doctor.every=24", "eval.every=0"),
    "decaying": overrides("mlp_gan", "schedule=linear", "accumulate=2", "stabilizer=instance_noise", "eval.every=0"),
    "pixelcnn": overrides("pixelcnn", "eval.every=48", "eval.n=12", "data.validation=12"),
    "cyclegan": overrides("cyclegan", "eval.every=0"),
    "kde": overrides("kde", "eval.every=0"),
}
# Loaded once, since they take most of a small run: what a run imports when it first needs it.
MODULES = ("gancli.cli.sweep", "gancli.verbs.train", "gancli.metrics.classifier", "gancli.views.grid", "torch._dynamo")
USUAL = ["images=96", "log.every=24", "samples.every=48", "checkpoint.every=48", "checkpoint.keep=2"]
# How a run may end before it is killed: at a moment that the clock chooses, or by its own hand where it is named.
MOMENTS = ("clock", "_settle", "write_samples", "evaluate", "animate", "_final", "prune", "done")
ENDS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1)  # of the clock


def attempt(moment: str, number: int, argv: list[str], delay: float | None, end: int, log: Path) -> int:
    """Run a command line in a process that may be killed, and return its exit code, or minus the signal.

    The process is forked from this one, which has loaded what a run imports (see MODULES) and does not train.
    """
    sys.stdout.flush()
    if not (child := os.fork()):
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, 1), os.dup2(file, 2)
        if moment != "clock":
            die_at(moment, number)
        code = main(argv)
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)
    deadline = None if delay is None else time.monotonic() + delay
    while not (found := os.waitpid(child, os.WNOHANG))[0]:
        if deadline is not None and time.monotonic() > deadline:
            os.kill(child, end)
            deadline = None
        time.sleep(0.01)
    return os.waitstatus_to_exitcode(found[1])


def die_at(moment: str, number: int) -> None:
    """Kill this process at the n-th call of a function of the loop, or after its last line."""
    owner, name = (checkpoint if moment == "prune" else loop), "_summarise" if moment == "done" else moment
    original, calls = getattr(owner, name), []

    def killing(*args: object, **options: object) -> object:
        calls.append(1)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **options)

    setattr(owner, name, killing)


def killed(kind: str, chance: random.Random, folder: Path, seconds: float) -> tuple[str, int]:
    """Kill a run of a kind once or twice, and resume it to its end; return what happened, and the last exit code."""
    start = ["train", *KINDS[kind], *USUAL, f"hydra.run.dir={folder}"]
    happened, log = [], folder.with_suffix(".log")
    for _ in range(chance.randint(1, 2)):
        moment, number, end = chance.choice(MOMENTS), chance.randint(1, 4), chance.choice(ENDS)
        number = 1 if moment in ("done", "animate", "_final") else number
        delay = chance.uniform(0, seconds) if moment == "clock" else None
        exists = bool(checkpoint.numbered(folder))
        if not exists and folder.exists():
            folder.rename(folder.with_name(f"{folder.name}-{time.monotonic_ns()}"))  # nothing to go on from
        code = attempt(moment, number, ["train", f"resume={folder}"] if exists else start, delay, end, log)
        at = f"after {delay:.1f} s, {signal.Signals(end).name}" if delay else f"call {number}"
        happened.append(f"{moment} {at}: {code}")
    if not checkpoint.numbered(folder):
        if folder.exists():
            folder.rename(folder.with_name(f"{folder.name}-{time.monotonic_ns()}"))
        return ", ".join(happened), attempt("clock", 0, start, None, 0, log)
    code = attempt("clock", 0, ["train", f"resume={folder}"], None, 0, log)
    if code == 2 and "has completed its" in log.read_text().splitlines()[-1]:  # it was not killed
        code = 0
    return ", ".join(happened), code


def kill_all() -> int:
    """Do the kills and return 1 if one of them was not made up for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    given = parser.parse_args()
    chance, failed = random.Random(given.seed), 0
    for each in MODULES:
        importlib.import_module(each)
    os.environ["OMP_NUM_THREADS"] = "1"  # sums in one order
    with tempfile.TemporaryDirectory() as place:
        wholes, seconds = {}, {}
        for i in range(given.n):
            kind = given.kinds[i % len(given.kinds)]
            if kind not in wholes:
                folder, begun = Path(place) / f"{kind}-whole", time.monotonic()
                start = ["train", *KINDS[kind], *USUAL, f"hydra.run.dir={folder}"]
                code = attempt("clock", 0, start, None, 0, folder.with_suffix(".log"))
                if code:
                    print(folder.with_suffix(".log").read_text())
                    return code
                wholes[kind], seconds[kind] = told(folder), time.monotonic() - begun
            folder = Path(place) / f"{kind}-{i}"
            happened, code = killed(kind, chance, folder, seconds[kind])
            wrong = [f"exit code {code}"] if code else differences(told(folder), wholes[kind])
            failed += bool(wrong)
            print(f"{i:4} {kind:9} {'FAILED' if wrong else 'ok':7} {happened}", flush=True)
            for line in wrong:
                print(f"       {line[:2000]}")
            if wrong:
                print(folder.with_suffix(".log").read_text()[-3000:])
    print(f"{given.n} runs killed and resumed, {failed} ended otherwise than without")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(kill_all())
