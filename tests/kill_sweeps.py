"""Kill the launcher of a sweep and its jobs at random moments, repeat its command, and look at what it leaves.

python tests/kill_sweeps.py --jobs 24 --kills 5 --seed 0        (make kill-sweeps JOBS=24 KILLS=5 SEED=0)
python tests/kill_sweeps.py --launcher joblib                   the same with another launcher, two jobs at a time
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from helpers import overrides
from histories import differences, told
from processes import alive

from gancli.cli import status
from gancli.files import LOCK
from gancli.structure import read_rows
from gancli.training import checkpoint

# The words of a launcher, and the images of a job: joblib's workers are warm, so that short jobs would be too short.
LAUNCHERS = {
    "gancli": (["launcher.slots=2"], 480),
    "joblib": (["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], 9600),
}
GANCLI = [sys.executable, "-m", "gancli"]
PATIENCE = 5.0  # seconds in which an orphan has to be gone
PAUSE = 0.1


class Sweep:
    """A sweep in a folder of its own, and what is known of its jobs so far."""

    def __init__(self, place: Path, jobs: int, launcher: str) -> None:
        self.place, self.jobs = place, jobs
        words, self.images = LAUNCHERS[launcher]
        self.settings = overrides(
            "dcgan", f"images={self.images}", f"log.every={self.images // 10}", f"checkpoint.every={self.images // 10}",
            "samples.every=0", "eval.every=0", "doctor.every=0",
        )  # fmt: skip
        self.words = ["train", "-m", f"seed=range({jobs})", *self.settings, *words]
        self.launcher: subprocess.Popen[bytes] | None = None
        self.done: dict[str, tuple[int, int]] = {}  # job -> time of its status and length of its log, once it is done
        self.newest: dict[str, int] = {}  # job -> images of its newest checkpoint
        self.wrong: list[str] = []
        self.commands, self.half_done = 0, set[str]()

    def start(self) -> None:
        """Type the command."""
        self.commands += 1
        log = (self.place / f"command-{self.commands}.log").open("wb")
        self.launcher = subprocess.Popen([*GANCLI, *self.words], cwd=self.place, stdout=log, stderr=log)

    def folders(self) -> list[Path]:
        return sorted(self.place.glob("outputs/sweep/*/seed-*"))

    def running(self) -> dict[str, int]:
        """Return the processes of the jobs that hold their locks."""
        found = {}
        for file in self.place.glob(f"outputs/sweep/*/seed-*/{LOCK}"):
            try:
                found[file.parent.name] = json.loads(file.read_text())["pid"]
            except (OSError, ValueError):
                continue
        return {name: pid for name, pid in found.items() if alive(pid)}

    def look(self) -> None:
        """Note what must not change: jobs that are done, and the images of the newest checkpoint of each."""
        for folder in self.folders():
            name, there = folder.name, checkpoint.numbered(folder)
            images = int(there[-1].stem) if there else 0
            if images < self.newest.get(name, 0):
                self.wrong.append(f"{name}: its checkpoints fell from {self.newest[name]} to {images} images")
            self.newest[name] = images
            state = status.read(folder)
            if state and state["state"] == "done":
                now = (folder / status.NAME).stat().st_mtime_ns, (folder / "log.txt").stat().st_size
                if self.done.setdefault(name, now) != now:
                    self.wrong.append(f"{name}: it was done, and ran again")
                    self.done[name] = now

    def wait(self, until: float) -> bool:
        """Watch until a time; return whether the launcher still runs then."""
        assert self.launcher is not None
        while time.monotonic() < until and self.launcher.poll() is None:
            self.look()
            time.sleep(PAUSE)
        return self.launcher.poll() is None

    def until_half_done(self) -> None:
        """Watch until a running job has a checkpoint; type the command again if it has ended."""
        while not any(self.newest.get(name) for name in self.running()):
            if not self.wait(time.monotonic() + PAUSE):
                self.start()


def kill(sweep: Sweep, chance: random.Random, *, whole: bool) -> str:
    """Kill the launcher or a job, and return what happened; after the launcher's death its jobs have to go."""
    running = sweep.running()
    for name in running if whole else ():
        sweep.half_done |= {name} if sweep.newest.get(name) else set()
    if not whole:
        name, pid = chance.choice(sorted(running.items()))
        sweep.half_done |= {name} if sweep.newest.get(name) else set()
        os.kill(pid, signal.SIGKILL)
        return f"kill -9 of {name} at {sweep.newest.get(name, 0)} images"
    assert sweep.launcher is not None
    sweep.launcher.kill()
    sweep.launcher.wait()
    begun = time.monotonic()
    while any(map(alive, running.values())) and time.monotonic() < begun + 4 * PATIENCE:
        time.sleep(PAUSE)
    took = time.monotonic() - begun
    if took > PATIENCE:
        sweep.wrong.append(f"orphans of the launcher lived for {took:.1f} s")
    sweep.look()
    return f"kill -9 of the launcher; its {len(running)} jobs were gone after {took:.1f} s"


def refused(sweep: Sweep) -> list[str]:
    """Try to write into the folders of a running sweep from outside; return what was not refused."""
    name = next(name for name in sweep.running() if sweep.newest.get(name))
    folder = next(folder for folder in sweep.folders() if folder.name == name)
    wrong = []
    for words in (["train", f"resume={folder}"], sweep.words):
        answer = subprocess.run([*GANCLI, *words], cwd=sweep.place, capture_output=True, text=True)
        if "has completed its" in answer.stderr:  # the job was faster than the command
            continue
        if answer.returncode != 2 or "is writing into" not in answer.stderr:
            wrong.append(f"gancli {' '.join(words[:2])}: not refused: {answer.returncode} {answer.stderr[-300:]}")
    return wrong


def examined(sweep: Sweep) -> list[str]:
    """Return what is wrong with the runs of a sweep that is done."""
    wrong = [f"{len(sweep.folders())} folders"] if len(sweep.folders()) != sweep.jobs else []
    for folder in sweep.folders():
        state: dict[str, Any] = status.read(folder) or {}
        images = [row["images"] for row in read_rows(folder / "metrics.jsonl")]
        told_of = (folder / "log.txt").read_text()
        if state.get("state") != "done" or f"seed={folder.name[5:]}" not in state["overrides"]:
            wrong.append(f"{folder.name}: {state}")
        if images != sorted(set(images)) or images[-1] < sweep.images:
            wrong.append(f"{folder.name}: rows at {images}")
        if folder.name in sweep.half_done and "resumed from" not in told_of:
            wrong.append(f"{folder.name}: had a checkpoint and did not go on from it")
    alone = sweep.place / "alone"
    for name in sorted(sweep.half_done)[:2]:
        words = ["train", f"seed={name[5:]}", *sweep.settings, f"hydra.run.dir={alone / name}"]
        subprocess.run([*GANCLI, *words], cwd=sweep.place, check=True, capture_output=True)
        (folder,) = sweep.place.glob(f"outputs/sweep/*/{name}")
        one, other = told(folder), told(alone / name)
        one["files"] = [each for each in one["files"] if each != "output.txt"]  # only a launcher writes it
        wrong += [f"{name}, against the same job alone: {line[:300]}" for line in differences(one, other)]
    return wrong


def main() -> int:
    """Do the kills and return 1 if something is wrong in the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, number in (("jobs", 24), ("kills", 5), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--launcher", choices=LAUNCHERS, default="gancli")
    given = parser.parse_args()
    chance = random.Random(given.seed)
    os.environ["OMP_NUM_THREADS"] = "1"  # sums in one order, here and where a job is run alone
    with tempfile.TemporaryDirectory() as place:
        sweep = Sweep(Path(place), given.jobs, given.launcher)
        sweep.start()
        wholes = [i % 2 == 0 for i in range(given.kills)]
        chance.shuffle(wholes)
        sweep.until_half_done()
        sweep.wrong += refused(sweep)
        for whole in wholes:
            sweep.wait(time.monotonic() + chance.uniform(0, 20))
            sweep.until_half_done()
            print(f"{len(sweep.done):3} done  {kill(sweep, chance, whole=whole)}", flush=True)
        codes = []
        while not codes or (codes[-1] and len(codes) < 3):
            if sweep.launcher is None or sweep.launcher.poll() is not None:
                sweep.start()
            sweep.wait(float("inf"))
            assert sweep.launcher is not None
            codes.append(sweep.launcher.wait())
            sweep.look()
        wrong = sweep.wrong + examined(sweep)
        print(f"{len(sweep.done)} of {given.jobs} done by {sweep.commands} commands, the last exit codes were {codes}")
        print(
            f"{len(sweep.half_done)} were half done when they or the launcher were killed; wrong: {wrong or 'nothing'}"
        )
        if wrong:
            print((sweep.place / f"command-{sweep.commands}.log").read_text()[-3000:])
    return int(bool(wrong) or len(sweep.done) != given.jobs or codes[-1] != 0)


if __name__ == "__main__":
    sys.exit(main())
