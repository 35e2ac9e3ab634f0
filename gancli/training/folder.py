"""The folder of a run: its config, its log, the machines it was trained on, and what a rewind sets aside."""

import json
import logging
import os
import shutil
from itertools import count
from pathlib import Path
from typing import Any

from gancli import config
from gancli.console import setup_logging
from gancli.errors import command, trusting
from gancli.files import TEMPORARY, replacing
from gancli.structure import MACHINES, read_json
from gancli.training import checkpoint, integrity
from gancli.training.run import Run
from gancli.training.tracker import FILE, rewind_events

log = logging.getLogger("gancli")
REWOUND = "rewound-"  # and the number of images: a folder in a run folder
DIGITS = 12  # of the number of images that names of checkpoints, pictures and score cards begin with
SUMMARIES = ("run*.gif", "curve-*")  # what is made of several of them


def open_folder(cfg: Any, run_dir: Path) -> None:
    """Make the folder of a run, write its config, and start logging into it; what a killed writer left goes."""
    run_dir.mkdir(parents=True, exist_ok=True)
    for left in run_dir.glob(f".*{TEMPORARY}"):  # the run's own: others write into folders below
        left.unlink()
    with replacing(run_dir / "config.yaml") as temporary:
        temporary.write_text(config.to_yaml(cfg), encoding="utf-8")
    setup_logging(run_dir / "log.txt")


def note_machine(run: Run, run_dir: Path) -> None:
    """Add this machine to machine.json, which lists all machines that a resumed run was trained on."""
    path = run_dir / "machine.json"
    before = read_json(path, MACHINES) or [] if run.images else []
    before = [each for each in before if each.get("from_images", 0) <= run.images]  # others are of abandoned work
    noted = [*before, {"from_images": run.images, **run.runtime.machine(run.model)}]
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(noted, indent=2) + "\n", encoding="utf-8")


def rewind(run_dir: Path, images: int) -> Path | None:
    """Set aside what a run folder holds of later than ``images``, if it was trained further than that.

    Checkpoints, pictures, score cards and copies of the whole logs go into ``rewound-<images>/``, named by where the
    run stood. What a killed process had done after its last checkpoint is no other history: it is done again.

    Returns:
        The folder that it was moved into; None if the run had not been trained further.
    """
    later = [path for path in reversed(checkpoint.numbered(run_dir)) if int(path.stem) > images]
    if not later:
        return None
    aside = _unused(run_dir / f"{REWOUND}{int(later[0].stem)}")
    aside.mkdir()
    moved = later  # the newest first: after a kill the rest is what later than the newest checkpoint
    best = run_dir / checkpoint.FOLDER / checkpoint.BEST
    if best.is_file() and (integrity.fault(best) or checkpoint.load(best).images > images):
        moved = [*moved, best]
    for path in moved:
        os.replace(path, aside / path.name)  # not in checkpoints/, where `latest` would find them
    for path in sorted(run_dir.glob("*/*")):
        stem = path.name[:DIGITS]
        is_later = len(stem) == DIGITS and stem.isdigit() and int(stem) > images
        made = any(path.match(each) for each in SUMMARIES)
        if not path.parent.name.startswith(REWOUND) and (is_later or made):
            (aside / path.parent.name).mkdir(exist_ok=True)
            os.replace(path, aside / path.parent.name / path.name)
    for name in (FILE, "machine.json"):
        if (run_dir / name).is_file():
            shutil.copyfile(run_dir / name, aside / name)
    rewind_events(run_dir, images, aside)
    log.warning("going back to %s images: all that came later is in %s now", f"{images:,}", aside)
    return aside


def _unused(path: Path) -> Path:
    """Return a path that does not exist: the given one, or with a number."""
    names = (f"{path.name}{f'-{i}' if i > 1 else ''}" for i in count(1))
    return next(each for each in map(path.with_name, names) if not each.exists())


def resuming(cfg: Any, run_dir: Path) -> str:
    """Return the command that goes on with a run."""
    return command("train", f"resume={run_dir}", *trusting(cfg.trust))


def advice(cfg: Any, run_dir: Path) -> str:
    """Return what to do when the disk of a run is full."""
    if checkpoint.numbered(run_dir):
        return f"free some space and continue with:\n{resuming(cfg, run_dir)}"
    return "free some space, or set GANCLI_OUTPUTS to another disk, and start again"
