"""What a run that is resumed still has to do, whether anything is left, and what its learning rates do."""

from pathlib import Path
from typing import Any

from gancli import config
from gancli.errors import UsageError
from gancli.structure import STATUS, read_json, read_rows
from gancli.training.checkpoint import Checkpoint
from gancli.training.run import OWED, Run
from gancli.training.schedules import Schedule
from gancli.training.tracker import FILE

JUMP = 2.0  # factor between learning rates that is worth a word


def resume(run: Run, saved: Checkpoint, run_dir: Path) -> None:
    """Restore a run from a checkpoint, and find out what it still owes; cautions say what its rates do.

    Raises:
        UsageError: the checkpoint does not fit, or nothing is left to do; the message says what would help.
    """
    run.restore(saved)
    run.owed = _owed(run, saved, run_dir)
    run.cautions += jumps(run, saved) + left_behind(run.cfg.optimizer, saved.config.optimizer)
    if run.images < run.total:
        return
    was_complete = float(saved.state.get("share", 1.0)) >= 1
    if not was_complete and run.images >= run.total + run.cfg.batch_size * run.batches():
        raise UsageError(
            f"{saved.path} has seen {run.images:,} images, more than {run.total:,}; to go on, add {_more(run)}; to end "
            f"the run where it stands, add {_at(run, run.images)}"
        )
    status = read_json(run_dir / "status.json", STATUS) or {}
    if not run.owed and status.get("before") in (None, "done"):  # else the process died before it could say so
        more = f"; to continue, add {_more(run)}" if run.steps else ", and its model is not trained in steps"
        raise UsageError(f"{saved.path} has completed its {run.images:,} images{more}")


def _more(run: Run) -> str:
    return _at(run, 2 * max(run.total, run.images))


def _at(run: Run, images: int) -> str:
    """Return the override that ends a run at ``images`` or later: epochs= takes precedence where it is set."""
    passes = -(-images // len(run.source.split("train")))
    return f"images={images}" if run.cfg.epochs is None else f"epochs={passes}"


def _owed(run: Run, saved: Checkpoint, run_dir: Path) -> list[str]:
    """Return what is due at the images of a checkpoint and was not done before it was saved, of OWED.

    Checkpoints of releases up to 0.1 do not say so; the files of a run that had seen all images do.
    """
    complete = run.images >= run.total
    if float(saved.state.get("share", 1.0)) < 1:  # its end was not due then
        found = set(saved.state.get("owed", ())) | ({"samples", "eval", "end"} if complete else set())
    elif "owed" in saved.state:
        found = set(saved.state["owed"])
    else:
        drawn = any((run_dir / "samples").glob(f"{run.images:012d}*.png"))
        rows = [row for row in read_rows(run_dir / FILE) if row["images"] == run.images]
        scored = any(key.startswith("eval/") for row in rows for key in row)
        found = {name for name, done in (("samples", drawn), ("eval", scored)) if not done}
        found |= {"end"} if found else set()
    groups = (("doctor", run.cfg.doctor), ("samples", run.cfg.samples), ("eval", run.cfg.eval))
    off = {name for name, group in groups if not group.every}
    return [name for name in OWED if name in found - off]


def jumps(run: Run, saved: Checkpoint) -> list[str]:
    """Return a line for each network whose learning rate will be far above that of its last update.

    Rates that decay over the whole run begin anew where images= is raised. No line where the saved settings have the
    same jump, as in a warm-up.
    """
    schedule = config.instantiate(saved.config.schedule, Schedule, trust=run.cfg.trust)
    share = float(saved.state.get("share", 1.0))
    factor = schedule(run.images, round(run.images / share) if share else run.total).lr
    lines = []
    for step in run.steps:
        groups = saved.state["optimizers"][step.phase.name]["optimizer"].get("param_groups", [])
        planned = step.planned(share, factor)
        now = step.planned(run.share, run.schedule(run.images, run.total).lr)
        for (name, rate), group in zip(now.items(), groups):
            last = group.get("lr")
            if isinstance(last, float) and rate > JUMP * max(last, planned[name]):
                lines.append(
                    f"{name} jumps to {rate:.3g}, and was {last:.3g} at the last update: it depends on the share of "
                    f"the run, and {run.images:,} of {run.total:,} images are an early one; a lower optimizer.lr= "
                    "or schedule=constant changes that"
                )
    return lines


def left_behind(now: Any, before: Any) -> list[str]:
    """Return a line for each setting of the optimizer that was changed while a network's own value stays."""
    now, before = config.plain(now), config.plain(before)
    lines = []
    for key, value in now.items():
        if key in ("overrides", "_target_", "_partial_") or value == before.get(key):
            continue
        for network, own in (now.get("overrides") or {}).items():
            if key in own and own[key] == (before.get("overrides") or {}).get(network, {}).get(key):
                lines.append(
                    f"optimizer.{key}={value} is not used for {network}, which has its own: "
                    f"optimizer.overrides.{network}.{key}={own[key]}"
                )
    return lines
