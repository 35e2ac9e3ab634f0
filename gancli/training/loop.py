"""The training loop, shared by all families of models.

gancli train model=dcgan data=mnist
"""

import logging
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from gancli import config
from gancli.console import RunProgress, setup_logging
from gancli.errors import Interrupted, TrainingDiverged, command, trusting
from gancli.files import refuse_links
from gancli.structure import read_rows
from gancli.training import checkpoint, ranks
from gancli.training.build import build
from gancli.training.doctor.history import History
from gancli.training.evaluation import evaluate
from gancli.training.folder import advice, note_machine, open_folder, resuming, rewind
from gancli.training.guard import check_in_place, writing
from gancli.training.resuming import resume
from gancli.training.run import Run
from gancli.training.samples import write_samples
from gancli.training.stopping import Stopped, StopSignal, interruptible
from gancli.training.tracker import Tracker
from gancli.training.turn import run_turn
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
        UsageError: data, model, loss and settings are incompatible; the folder is moved or its disk full.
        TrainingDiverged: a loss or a weight is not finite; the last good checkpoint is kept.
        Interrupted: a signal arrived; the step was finished and saved.
        RankLost: another of the processes that train together has ended; the last checkpoint is whole.
    """
    setup_logging(silent=ranks.group().rank > 0)
    saved = checkpoint.load(cfg.resume) if cfg.resume else None
    run = build(cfg)
    if saved is not None:
        changed = ", ".join(config.differences(saved.config, cfg)) or "none, all are those of the checkpoint"
        run.notes.append(f"resumed from {saved.path} at {saved.images:,} images; changed settings: {changed}")
        resume(run, saved, run_dir)
    run.gather()  # by now every process has read what the first one is about to change
    with ExitStack() as stack:
        if run.runtime.is_main:
            refuse_links(run_dir)  # it may be someone else's
            stack.enter_context(writing(run_dir, partial(advice, run.cfg, run_dir)))
        return _train(run, run_dir, stack)


def _train(run: Run, run_dir: Path, stack: ExitStack) -> dict[str, float]:
    """Train a run in a folder that is locked for this process if it is the main one."""
    cfg, main = run.cfg, run.runtime.is_main
    if main:
        open_folder(cfg, run_dir)
        if rewind(run_dir, run.images):
            if not (run_dir / checkpoint.FOLDER / checkpoint.BEST).is_file():
                run.best = None  # it was found later, or is lost
            if run.images:
                run.save(run_dir / checkpoint.FOLDER / checkpoint.name(run.images))  # now the newest
        note_machine(run, run_dir)
    where = f"{run.runtime.device}{f' x {run.runtime.world}' * (run.runtime.world > 1)}"
    how = run.runtime.precision + ", channels_last" * run.runtime.machine(run.model)["channels_last"]
    log.info("%s on %s (%s), %s images -> %s", cfg.model._target_, where, how, f"{run.total:,}", run_dir)
    for line in (*run.notes, *run.source.notes(), *run.model.notes):
        log.info("%s", line)
    for line in run.warnings():
        log.warning("%s", line)
    stack.callback(run.loader.close)
    tracker = Tracker(run_dir, run.images, main=main, again=run.owed, average=run.runtime.average)
    stack.callback(tracker.close)
    tracker.load_state_dict(run.pending, run.runtime.device)
    tracker.text("config", f"```yaml\n{config.to_yaml(cfg)}\n```")
    history = History(read_rows(tracker.path) if main else ())  # includes the earlier examinations of a resumed run
    stack.push(partial(_summarise, history))
    _loop(run, run_dir, tracker, history)
    if run.runtime.world > 1:
        share, size = (tracker.last.get(f"runtime/all_reduce{end}", 0.0) for end in ("", "_mb"))
        log.info("means of gradients: %.0f %% of the last tick, %.3g MB per update", 100 * share, size)
    log.info("done -> %s; next:\n%s", run_dir, command("eval", f"ckpt={run_dir}", *trusting(cfg.trust)))
    return _final(tracker)


def _loop(run: Run, run_dir: Path, tracker: Tracker, history: History) -> None:
    """Train until all images are seen; each iteration logs and saves first, then exits if done, then steps.

    What is due at some images and not done when a checkpoint is saved there is noted in it (``Run.owed``), and done
    first where it is resumed.
    """
    cfg, batch_size = run.cfg, run.cfg.batch_size
    log_due, save_due, grid_due, eval_due, doctor_due = (
        Cadence(group.every, run.images) for group in (cfg.log, cfg.checkpoint, cfg.samples, cfg.eval, cfg.doctor)
    )
    if not (run.images or cfg.resume):
        run.owed = ["samples"] if cfg.samples.every else []
    fresh = bool(cfg.resume) or run.images == 0  # nothing was done since: these images are logged and examined
    with ExitStack() as stack:
        progress = RunProgress(run.total, run.images, shown=run.runtime.is_main, stage=run.model.stage)
        stack.callback(progress.close)
        stop, signals = stack.enter_context(StopSignal()), ranks.Signals()
        while True:
            check_in_place(run_dir)
            signum = signals(stop.signum, run.turn)  # the same in all processes, as all that is due
            complete, busy = run.images >= run.total, fresh
            if not fresh:
                examined: dict[str, float] | None = {}
                if looked := doctor_due(run.images, complete):
                    examined = _examined(run)
                try:
                    if log_due(run.images, complete):
                        run.runtime.wait()  # the tick would, and the rate has to include it
                        rate = progress.rate(run.images)
                        extra = {"runtime/images_per_s": rate, **run.runtime.memory(), **run.runtime.cost()}
                        means = tracker.tick(
                            run.images, extra | {k: v for s in run.steps for k, v in s.rates().items()}
                        )
                        _diagnose(history, tracker)
                        progress.tick(run.images, rate, means)
                    elif looked or signum:
                        tracker.check(run.images)
                finally:  # of a run that diverges, this is what is known
                    _note(run, tracker, progress, history, examined)
                dues = (("samples", grid_due), ("eval", eval_due))
                owed = [name for name, due in dues if due(run.images, complete)] + ["end"] * complete
                run.owed, busy = ["doctor"] * (examined is None) + owed, looked or bool(owed)
            with progress.paused():
                saving = save_due(run.images, complete)
                if busy or saving or complete or signum:
                    _collect(run, tracker)
                if complete or signum:  # saved before the final evaluation, which can take long
                    _save(run, run_dir, tracker)
                if not signum and (busy or saving or complete):
                    signum = _settle(run, run_dir, tracker, progress, history)
                    if saving or complete or signum:  # after the evaluation, to include the best score
                        _save(run, run_dir, tracker)
            if complete or signum:
                break
            fresh = False
            run_turn(run, tracker, measure=run.images + batch_size * run.batches() >= log_due.next)
            progress.step(run.images)
    if signum:
        raise Interrupted(
            signum,
            f"stopped and saved at {run.images:,} images; continue with:\n{resuming(run.cfg, run_dir)}",
        )


def _collect(run: Run, tracker: Tracker) -> None:
    """Collect what a checkpoint holds of all processes, until the next turn. Raises RankLost."""
    run.pending = tracker.state_dict()
    run.runtime.average(list(run.pending.values()))
    run.gather()


def _save(run: Run, run_dir: Path, tracker: Tracker) -> None:
    """Save a numbered checkpoint and remove the oldest; entries of the logs before it cannot be lost any more."""
    tracker.flush()
    run.save(run_dir / checkpoint.FOLDER / checkpoint.name(run.images))
    if run.runtime.is_main:
        checkpoint.prune(run_dir, run.cfg.checkpoint.keep, run.cfg.checkpoint.every)


def _examined(run: Run) -> dict[str, float] | None:
    """Return what the doctor measures, if it does; None if a signal asks to stop, so that it is owed."""
    if run.measurements is None:
        return {}
    try:
        return run.measurements(run.share)
    except Stopped:
        return None


def _note(
    run: Run, tracker: Tracker, progress: RunProgress, history: History, examined: dict[str, float] | None
) -> None:
    """Write what the doctor measured as a row of its own, and show the alarms that follow from it."""
    if examined:
        tracker.write(run.images, examined)
        progress.alarmed(_diagnose(history, tracker))


def _settle(run: Run, run_dir: Path, tracker: Tracker, progress: RunProgress, history: History) -> int:
    """Do what is due at these images: an examination, pictures, an evaluation, and what ends a run.

    It may be done twice. What is done is taken off ``run.owed``. All processes evaluate, and the first one does the
    rest. One that is told to stop stops at once, and the others where they next ask: see ranks.told().

    Returns:
        The signal at which all stop, or 0; what was not finished is still owed then.
    """
    try:
        while run.owed:
            if run.runtime.is_main or run.owed[0] == "eval":
                _done(run.owed[0], run, run_dir, tracker, progress, history)
            del run.owed[0]
    except Stopped as error:
        return error.agreed or ranks.told()
    return ranks.agree(0)


def _done(what: str, run: Run, run_dir: Path, tracker: Tracker, progress: RunProgress, history: History) -> None:
    """Do one of OWED. Raises Stopped."""
    if what == "doctor" and run.measurements is not None:
        _note(run, tracker, progress, history, run.measurements(run.share))
    if what == "samples":
        write_samples(run, run_dir, tracker)
    if what == "eval":
        progress.scored(evaluate(run, run_dir, tracker))
    if what == "end":
        with interruptible():
            pictures = (run_dir / "samples").glob("[0-9]*.png") if run.cfg.samples.every else ()
            for ending in {file.stem.lstrip("0123456789") for file in pictures}:
                animate(run_dir / "samples", ending)
        tracker.hparams(config.flat(run.cfg))


def _final(tracker: Tracker) -> dict[str, float]:
    """Return the last losses and scores."""
    return {key: value for key, value in tracker.last.items() if key.startswith(("loss/", "eval/"))}


def _diagnose(history: History, tracker: Tracker) -> list[str]:
    """Pass the newest row to the doctor, log the alarms that begin or end, and return those that last."""
    for alarm in history.add(tracker.row):
        log.warning("doctor: %s", alarm.line())
        tracker.text("doctor", alarm.line(), alarm.until or alarm.last)
    return [alarm.title for alarm in history.lasting]


def _summarise(history: History, kind: type[BaseException] | None, *_: object) -> None:
    """Log the doctor's alarms at the end, or that there was none, which a run that has diverged is not told."""
    for line in history.summary() if history.alarms or kind is not TrainingDiverged else ():
        log.info("%s", line)
