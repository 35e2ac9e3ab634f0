"""The training loop, one for every family of models.

gancli train model=dcgan data=mnist
"""

import logging
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gancli import card, checkpoint, config, runtime
from gancli.complete import able, completions, missing_part, panel
from gancli.console import RunProgress, StopSignal, setup_logging
from gancli.data.levels import drawn
from gancli.data.spec import scaled
from gancli.doctor.chart import Chart
from gancli.errors import Interrupted, TrainingDiverged, UsageError
from gancli.files import json_lines
from gancli.grids import animate, make_grid, save_png
from gancli.metrics.registry import choosing
from gancli.models.base import Model
from gancli.models.translation import Translation
from gancli.run import Run, advance, build, note_machine, open_folder
from gancli.sample import as_in, columns, draw, likelihood_of, of_classes
from gancli.tracker import Tracker
from gancli.translation.scores import BETTER, Judge, means
from gancli.translation.ways import panels, shown

log = logging.getLogger("gancli")
COMPLETED = 8  # images in a grid of completions
SCORED_SEED = 0  # of the latents that are scored, as of gancli eval: runs of several seeds have one protocol


class Every:
    """True once per ``every`` images and at the end; never, if ``every`` is 0."""

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
    """Train the model that ``cfg`` describes, or give its lecture, and return the last losses and scores.

    Args:
        cfg: the resolved config of ``conf/train.yaml``.
        run_dir: where everything is written.

    Raises:
        UsageError: data, model, loss and settings do not go together.
        TrainingDiverged: a loss or a weight is not finite; the last good checkpoint stays.
        Interrupted: a signal came; the step was finished and saved.
    """
    if cfg.lecture is not None:
        from gancli.lectures.base import give  # imports matplotlib, which takes as long as the rest of the start

        return give(cfg, run_dir)
    setup_logging()
    saved = checkpoint.load(cfg.resume) if cfg.resume else None
    run = build(cfg)
    if saved is not None:
        run.restore(saved)
        if run.images >= run.total:
            raise UsageError(f"{saved.path} has all its {run.total:,} images; to go on, add images={2 * run.total}")
    open_folder(cfg, run_dir)
    note_machine(run, run_dir)
    log.info("%s on %s, %s images -> %s", cfg.model._target_, run.runtime.device, f"{run.total:,}", run_dir)
    for line in run.model.remarks:
        log.info("%s", line)
    for line in run.cautions():
        log.warning("%s", line)
    with ExitStack() as stack:
        stack.callback(run.loader.close)
        tracker = Tracker(run_dir, run.images)
        stack.callback(tracker.close)
        tracker.text("config", f"```yaml\n{config.to_yaml(cfg)}\n```")
        chart = Chart(json_lines(tracker.path))  # of a resumed run what it has seen before
        stack.callback(_summarise, chart)
        _loop(run, run_dir, tracker, chart)
        final = {k: v for k, v in tracker.last.items() if k.startswith(("loss/", "eval/"))}
        tracker.hparams(config.flat(cfg), final)
        log.info("done -> %s; next: gancli eval ckpt=%s", run_dir, run_dir)
        return final


def _loop(run: Run, run_dir: Path, tracker: Tracker, chart: Chart) -> None:
    """Step until all images are seen: maintenance first, the exit in the middle, the step last."""
    cfg, batch_size = run.cfg, run.cfg.batch_size
    log_due, save_due, grid_due, eval_due, doctor_due = (
        Every(group.every, run.images) for group in (cfg.log, cfg.checkpoint, cfg.samples, cfg.eval, cfg.doctor)
    )
    if run.images == 0 and cfg.samples.every:
        _write_grid(run, run_dir, tracker)
    with ExitStack() as stack:
        progress = RunProgress(run.total, run.images)
        stack.callback(progress.close)
        stop = stack.enter_context(StopSignal())
        while True:
            done = run.images >= run.total or bool(stop.signum)
            if run.vitals is not None and doctor_due(run.images, done):
                tracker.add(run.vitals(min(run.images / run.total, 1.0)))
            if log_due(run.images, done):
                rate = progress.rate(run.images)
                extra = {"runtime/images_per_s": rate, **run.runtime.memory()}
                means = tracker.tick(run.images, extra | {k: v for s in run.steps for k, v in s.rates().items()})
                progress.tick(run.images, rate, means)
                progress.alarmed(_diagnose(chart, tracker))
            with progress.paused():
                if done:  # the last scores can take long: whatever happens to them, nothing of the training is lost
                    _save(run, run_dir / checkpoint.FOLDER / checkpoint.name(run.images))
                if grid_due(run.images, done) and not stop.signum:
                    _write_grid(run, run_dir, tracker)
                if eval_due(run.images, done) and not stop.signum:
                    progress.scored(_evaluate(run, run_dir, tracker))
                if save_due(run.images, done) or done:  # after them, to know the best score
                    _save(run, run_dir / checkpoint.FOLDER / checkpoint.name(run.images))
                    checkpoint.prune(run_dir, cfg.checkpoint.keep)
            if done:
                break
            advance(run, tracker, measure=run.images + batch_size * run.batches() >= log_due.next)
            progress.step(run.images)
    if cfg.samples.every and not stop.signum:
        for ending in {file.stem.lstrip("0123456789") for file in (run_dir / "samples").glob("[0-9]*.png")}:
            animate(run_dir / "samples", ending)
    if stop.signum:
        rest = f"train resume={run_dir}" if run.images < run.total else f"eval ckpt={run_dir}"
        raise Interrupted(stop.signum, f"stopped and saved at {run.images:,} images; go on with: gancli {rest}")


def _diagnose(chart: Chart, tracker: Tracker) -> list[str]:
    """Let the doctor see the newest row, say what begins and what is over, and return what lasts."""
    for alarm in chart.add(tracker.row):
        log.warning("doctor: %s", alarm.line())
        tracker.text("doctor", alarm.line(), alarm.until or alarm.last)
    return [alarm.title for alarm in chart.lasting]


def _summarise(chart: Chart) -> None:
    for line in chart.summary():
        log.info("%s", line)


def _save(run: Run, path: Path) -> None:
    """Write a checkpoint, but never one that could not be resumed from."""
    for name, net in run.model.named_children():
        if not all(torch.isfinite(p).all() for p in net.parameters()):
            raise TrainingDiverged(f"weights of {name} are not finite at {run.images:,} images")
    checkpoint.save(path, run.state())


def _write_grid(run: Run, run_dir: Path, tracker: Tracker) -> None:
    """Write the sample grid: always the same latents, so that grids can be compared; of classes in full rows only."""
    if isinstance(run.model, Translation):
        return _write_panels(run, run_dir, tracker)
    n = run.cfg.samples.n
    width = columns(run.model, n)
    n -= n % width if width else 0
    with runtime.undisturbed(), run.ema.sampling() as model:
        batches = draw(model, n, seed=run.cfg.seed, batch_size=run.cfg.batch_size, labels=of_classes(model, n))
        drawn = torch.cat([images for images, _ in batches])
    picture = _scatter(run, model, drawn) if model.spec.points else make_grid(drawn, width)
    save_png(run_dir / "samples" / f"{run.images:012d}.png", picture)
    tracker.image("samples", picture, run.images)
    if run.cfg.samples.completion and able(run.model):
        _write_completions(run, run_dir, tracker)


def _write_completions(run: Run, run_dir: Path, tracker: Tracker) -> None:
    """Write completions of the same held-out images, by the same noise."""
    images = drawn(run.source.split("validation" if run.cfg.data.get("validation", 0) else "test"))
    image = scaled(torch.from_numpy(images.pixels[:COMPLETED]).to(run.runtime.device))
    label = torch.from_numpy(images.labels[:COMPLETED]).to(image.device) if run.model.conditional else None
    mask = missing_part(run.cfg.samples.completion, run.model.spec).to(image.device)
    with runtime.undisturbed(), run.ema.sampling() as model:
        done = completions(model, image, mask, 6, seed=run.cfg.seed, label=label, batch_size=run.cfg.batch_size)
    picture = panel(image, mask, done)
    save_png(run_dir / "completions" / f"{run.images:012d}.png", picture)
    tracker.image("completion", picture, run.images)


def _write_panels(run: Run, run_dir: Path, tracker: Tracker) -> None:
    """Write translations of always the same test pictures, every way of the model."""
    with runtime.undisturbed(), run.ema.sampling() as model:
        pictures = panels(model, shown(run.source), run.cfg.samples.n, seed=run.cfg.seed)
    for name, picture in pictures.items():
        save_png(run_dir / "samples" / f"{run.images:012d}-{name}.png", picture)
        tracker.image(f"samples/{name}", picture, run.images)


def _scatter(run: Run, model: Model, drawn: torch.Tensor) -> np.ndarray:
    """Draw points over real ones, and the discriminator as it stands."""
    from gancli.scatter import picture  # imports matplotlib, which takes as long as the rest of the start

    real = run.source.split("train")
    return picture(model, drawn, real.pixels, f"{real.name} after {run.images:,} points")


def _evaluate(run: Run, run_dir: Path, tracker: Tracker) -> str:
    """Score the averaged model on the reference split, keep the best checkpoint, and return a few words for the bar."""
    settings = run.cfg.eval
    score = _score_ways if isinstance(run.scorer, Judge) else _score_images
    with runtime.undisturbed(), run.ema.sampling() as model:
        values = score(run, run_dir, model)
    tracker.write(run.images, {f"eval/{key}": value for key, value in values.items()})
    candidates = choosing(settings.best, settings.metrics, BETTER)
    value, higher = next((values[key], higher) for key, higher in candidates.items() if key in values)
    # Of equals the later one: all 25 modes are found long before they are found well.
    better = run.best is None or (value >= run.best if higher else value <= run.best)
    if better:
        run.best = value
        _save(run, run_dir / checkpoint.FOLDER / checkpoint.BEST)
    text = "  ".join(f"{key} {value:.4g}" for key, value in values.items() if "/" not in key)  # each way: in the logs
    log.info("%s images: %s on %s%s", f"{run.images:,}", text, settings.split, " (best)" if better else "")
    return text


def _score_images(run: Run, run_dir: Path, model: Model) -> dict[str, float]:
    began, scorer, batch_size = time.monotonic(), run.scorer, run.cfg.batch_size
    labels = as_in(model, scorer.reference, scorer.n, seed=SCORED_SEED)
    images = draw(model, scorer.n, seed=SCORED_SEED, batch_size=batch_size, labels=labels)
    scores = scorer.score(images, likelihood_of(model))
    conditional = run.model.conditional
    subject = card.drawn(seed=SCORED_SEED, repeats=1, ema=True, conditional=conditional, checkpoint_sha256=None)
    facts = card.protocol(scorer, scorer.reference, subject, batch_size=batch_size, device=run.runtime.device)
    _keep_card(run, run_dir, "", facts, scores.values, scores.details, seconds=time.monotonic() - began)
    return scores.values


def _score_ways(run: Run, run_dir: Path, model: Translation) -> dict[str, float]:
    found, judge = {}, run.scorer
    for way in judge.ways:
        began = time.monotonic()
        found[way.name], details = judge.score(model, way, seed=SCORED_SEED)
        facts = judge.protocol(way, ema=True, seed=SCORED_SEED, repeats=1, checkpoint_sha256=None)
        _keep_card(run, run_dir, f"-{way.name}", facts, found[way.name], details, seconds=time.monotonic() - began)
    return means(found)


def _keep_card(
    run: Run, run_dir: Path, ending: str, facts: dict[str, Any], values: dict[str, float], details: dict[str, Any],
    *, seconds: float,
) -> None:  # fmt: skip
    """Write what ``gancli eval`` of these weights would, for ``gancli report``; real images are not scored."""
    result = {"values": values, "spread": {}, "floor": {}, "details": details}
    origin = {"checkpoint": None, "images_seen": run.images}
    card.write(run_dir / "eval", f"{run.images:012d}{ending}", facts, {**result, **origin}, seconds=seconds)
