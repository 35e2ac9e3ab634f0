"""Damaged and hostile input, thrown at the command line.

    make fuzz N=2000 SEED=0

Each try changes a copy of a tiny run, or makes a picture or an archive, from one seed, and lets a command read it. The
command has to end within ten seconds, in success or in one line; it must not print a traceback, write outside its
folders, or load weights that are not those that were saved. What fails is listed with its try, so that
``make fuzz N=1 SEED=<try>`` repeats it.
"""

import argparse
import contextlib
import io
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from attacks import ATTACKS, Try, newest
from helpers import overrides

from gancli.cli import main
from gancli.training import checkpoint

SECONDS = 10  # of the processor, for one command
FAMILIES = ("dcgan", "pixelcnn", "cyclegan")


def attempt(runs: Path, seed: int) -> str | None:
    """Make one try and return what is wrong with how the command took it; None: nothing."""
    at = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        (home / "canary").write_text("as it was")
        shutil.copytree(runs, home / "work" / "outputs")
        each = Try(at, home / "work" / "outputs" / at.choice(FAMILIES), home / "work" / "own")
        each.here.mkdir()
        attack = at.choice(ATTACKS)
        argv = attack(each)
        good = weights(runs / each.run.name)
        with working_in(home / "work"):
            code, said = command(argv)
        fault = judged(code, said) or outside(home) or changed(each, code, argv, good)
    return fault and f"{attack.__name__}: {' '.join(argv)[:300]}\n    {fault}"


def weights(run: Path) -> list[dict[str, Any]]:
    return [checkpoint.load(file).state["model"] for file in checkpoint.numbered(run)]


def changed(each: Try, code: int, argv: list[str], good: list[dict[str, Any]]) -> str | None:
    """Say that weights were loaded which are none of those that were saved."""
    if code or argv[0] != "sample" or argv[1].partition("=")[2] not in (str(each.run), str(newest(each))):
        return None
    found = checkpoint.load(argv[1].partition("=")[2]).state["model"]
    same = any(k.keys() == found.keys() and all(torch.equal(k[n], found[n]) for n in k) for k in good)
    finite = all(torch.isfinite(each).all() for each in found.values())
    return None if same or not finite else "changed weights were loaded in silence"


class Late(BaseException):
    """The command did not end in time."""


def command(argv: list[str], seconds: float = SECONDS) -> tuple[int, str]:
    """Run a command line in this process and return its exit code and what it said; -1: it did not end in time."""

    def late(signum: int, frame: Any) -> None:
        raise Late

    said = io.StringIO()
    signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = main(argv)
    except Late:
        code = -1
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return code, said.getvalue()


def judged(code: int, said: str) -> str | None:
    """Say what is wrong with the end of a command."""
    lines = [line for line in said.splitlines() if line.startswith("gancli: ")]
    if code == -1:
        return f"it did not end within {SECONDS} s"
    if code not in (0, 2, 3) or "Traceback" in said:
        return f"exit code {code}: {' | '.join(said.splitlines()[-3:])}"
    if code and (len(lines) != 1 or len(lines[0]) > 1500):
        return f"exit code {code} with {len(lines)} lines: {' | '.join(said.splitlines()[-3:])[:300]}"
    return None


def outside(home: Path) -> str | None:
    """Say what was written outside of the folder in which the command ran."""
    if (
        sorted(path.name for path in home.iterdir()) != ["canary", "work"]
        or (home / "canary").read_text() != "as it was"
    ):
        return f"it wrote outside of its folder: {sorted(path.name for path in home.iterdir())}"
    slipped = Path("/tmp/slip.png")
    if slipped.exists():
        slipped.unlink()
        return f"it wrote {slipped}"
    return None


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Run in a folder, with the user's home there as well."""
    before, home = os.getcwd(), os.environ.get("HOME")
    os.chdir(folder)
    os.environ["HOME"] = str(folder)
    try:
        yield
    finally:
        os.chdir(before)
        os.environ["HOME"] = home or ""


def make_runs(folder: Path) -> None:
    """Train a tiny run of each family, with two checkpoints."""
    for model in FAMILIES:
        words = overrides(model, "images=16", "checkpoint.every=8", "checkpoint.keep=2", "samples.every=0")
        code, said = command(["train", *words, f"hydra.run.dir={folder / model}"], 600)
        assert code == 0, said


def fuzz(n: int, seed: int) -> list[str]:
    """Make n tries and return what went wrong, a text for each."""
    with tempfile.TemporaryDirectory() as name:
        make_runs(Path(name))
        found = []
        for number in range(seed, seed + n):
            if fault := attempt(Path(name), number):
                found.append(f"try {number}: {fault}")
                print(found[-1], flush=True)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    faults = fuzz(arguments.n, arguments.seed)
    print(f"{arguments.n} tries from {arguments.seed}: {len(faults)} faults")
    sys.exit(bool(faults))
