"""The training loop, shared by all families of models.

gancli train model=dcgan data=mnist
"""

import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from gancli import config
from gancli.console import RunProgress, setup_logging
from gancli.errors import Interrupted, UsageError, command
from gancli.files import refuse_links
from gancli.structure import read_rows
from gancli.training import checkpoint
from gancli.training.doctor.history import History
from gancli.training.evaluation import evaluate
from gancli.training.guard import StopSignal, writing
from gancli.training.run import Run, build, note_machine, open_folder, run_turn
from gancli.training.samples import write_samples
from gancli.training.tracker import Tracker
from gancli.views.grids import animate

log = logging.getLogger("gancli")


class Cadence:
    """True once per ``every`` images and at the end; never if ``every`` is 0."""

    def __init__(self, every: int, images: int) -> None:
        self.every, self.next = every, 0
        self._set(images)

    def _set(self, images: int) -> None:
        self.next = (images // self.every + 1) * self.every if self.every else 0

    def __call__(self, images: int, done: bool) -> bool:
        if not self.every or not (done or images >= self.next):
            return False
        self._set(images)
        return True


def train(cfg: Any, run_dir: Path) -> dict[str, float]:
    """Train the model that ``cfg`` describes and return the last losses and scores.

    Args:
        cfg: the resolved config of ``conf/train.yaml``.
        run_dir: the folder that everything is written into.

    Raises:
        UsageError: data, model, loss and settings are incompatible.
        TrainingDiverged: a loss or a weight is not finite; the last good checkpoint is kept.
        Interrupted: a signal arrived; the step was finished and saved.
    """
    setup_logging()
    saved = checkpoint.load(cfg.resume) if cfg.resume else None
    run = build(cfg)
    if saved is not None:
        run.restore(saved)
        changed = ", ".join(config.differences(saved.config, cfg)) or "none, all are those of the checkpoint"
        run.notes.append(f"resumed from {saved.path} at {saved.images:,} images; changed settings: {changed}")
        if run.images >= run.total:
            raise UsageError(
                f"{saved.path} has completed its {run.total:,} images; to continue, add images={2 * run.total}"
            )
    with ExitStack() as stack:
        if run.runtime.is_main:
            refuse_links(run_dir)  # it may be someone else's
            stack.enter_context(writing(run_dir))
        return _train(run, run_dir, stack)


def _train(run: Run, run_dir: Path, stack: ExitStack) -> dict[str, float]:
    """Train a run in a folder that is locked for this process if it is the main one."""
    cfg, main = run.cfg, run.runtime.is_main
    if main:
        open_folder(cfg, run_dir)
        note_machine(run, run_dir)
    log.info("%s on %s, %s images -> %s", cfg.model._target_, run.runtime.device, f"{run.total:,}", run_dir)
    for line in (*run.notes, *run.source.notes(), *run.model.notes):
        log.info("%s", line)
    for line in run.warnings():
        log.warning("%s", line)
    stack.callback(run.loader.close)
    tracker = Tracker(run_dir, run.images, main=main)
    stack.callback(tracker.close)
    tracker.text("config", f"```yaml\n{config.to_yaml(cfg)}\n```")
    history = History(read_rows(tracker.path))  # includes the earlier examinations of a resumed run
    stack.callback(_summarise, history)
    _loop(run, run_dir, tracker, history)
    final = {k: v for k, v in tracker.last.items() if k.startswith(("loss/", "eval/"))}
    tracker.hparams(config.flat(cfg), final)
    log.info("done -> %s; next:\n%s", run_dir, command("eval", f"ckpt={run_dir}"))
    return final


def _loop(run: Run, run_dir: Path, tracker: Tracker, history: History) -> None:
    """Train until all images are seen; each iteration logs and saves first, then exits if done, then steps."""
    cfg, batch_size, main = run.cfg, run.cfg.batch_size, run.runtime.is_main
    log_due, save_due, grid_due, eval_due, doctor_due = (
        Cadence(group.every, run.images) for group in (cfg.log, cfg.checkpoint, cfg.samples, cfg.eval, cfg.doctor)
    )
    if run.images == 0 and cfg.samples.every and main:
        write_samples(run, run_dir, tracker)
    with ExitStack() as stack:
        progress = RunProgress(run.total, run.images)
        stack.callback(progress.close)
        stop = stack.enter_context(StopSignal())
        while True:
            done = run.images >= run.total or bool(stop.signum)
            if run.measurements is not None and doctor_due(run.images, done):
                tracker.add(run.measurements(min(run.images / run.total, 1.0)))
            if log_due(run.images, done):
                rate = progress.rate(run.images)
                extra = {"runtime/images_per_s": rate, **run.runtime.memory()}
                means = tracker.tick(run.images, extra | {k: v for s in run.steps for k, v in s.rates().items()})
                progress.tick(run.images, rate, means)
                progress.alarmed(_diagnose(history, tracker))
            with progress.paused():
                if done:  # saved before the final evaluation, which can take long, so that no training is lost
                    run.save(run_dir / checkpoint.FOLDER / checkpoint.name(run.images))
                if grid_due(run.images, done) and main and not stop.signum:
                    write_samples(run, run_dir, tracker)
                if eval_due(run.images, done) and main and not stop.signum:
                    progress.scored(evaluate(run, run_dir, tracker))
                if save_due(run.images, done) or done:  # after the evaluation, to include the best score
                    run.save(run_dir / checkpoint.FOLDER / checkpoint.name(run.images))
                    if main:
                        checkpoint.prune(run_dir, cfg.checkpoint.keep)
            if done:
                break
            run_turn(run, tracker, measure=run.images + batch_size * run.batches() >= log_due.next)
            progress.step(run.images)
    if cfg.samples.every and main and not stop.signum:
        for ending in {file.stem.lstrip("0123456789") for file in (run_dir / "samples").glob("[0-9]*.png")}:
            animate(run_dir / "samples", ending)
    if stop.signum:
        rest = ("train", f"resume={run_dir}") if run.images < run.total else ("eval", f"ckpt={run_dir}")
        raise Interrupted(stop.signum, f"stopped and saved at {run.images:,} images; continue with:\n{command(*rest)}")


def _diagnose(history: History, tracker: Tracker) -> list[str]:
    """Pass the newest row to the doctor, log the alarms that begin or end, and return those that last."""
    for alarm in history.add(tracker.row):
        log.warning("doctor: %s", alarm.line())
        tracker.text("doctor", alarm.line(), alarm.until or alarm.last)
    return [alarm.title for alarm in history.lasting]


def _summarise(history: History) -> None:
    for line in history.summary():
        log.info("%s", line)
