"""The scores of a run on its way: those of gancli eval, from the averaged weights."""

import logging
import time
from pathlib import Path
from typing import Any

from gancli.metrics import scorecard
from gancli.metrics.held_out import likelihood_of
from gancli.metrics.registry import choosing
from gancli.metrics.translation import BETTER, Judge, means
from gancli.models.base import Model
from gancli.models.sampling import draw, labels_like
from gancli.models.translation import Translation
from gancli.training import checkpoint, runtime
from gancli.training.run import Run
from gancli.training.tracker import Tracker

log = logging.getLogger("gancli")
SCORED_SEED = 0  # of the latents that are scored, as of gancli eval: runs of several seeds have one protocol


def evaluate(run: Run, run_dir: Path, tracker: Tracker) -> str:
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
        run.save(run_dir / checkpoint.FOLDER / checkpoint.BEST)
    text = "  ".join(f"{key} {value:.4g}" for key, value in values.items() if "/" not in key)  # each way: in the logs
    log.info("%s images: %s on %s%s", f"{run.images:,}", text, settings.split, " (best)" if better else "")
    return text


def _score_images(run: Run, run_dir: Path, model: Model) -> dict[str, float]:
    began, scorer, batch_size = time.monotonic(), run.scorer, run.cfg.batch_size
    labels = labels_like(model, scorer.reference, scorer.n, seed=SCORED_SEED)
    images = draw(model, scorer.n, seed=SCORED_SEED, batch_size=batch_size, labels=labels)
    scores = scorer.score(images, likelihood_of(model))
    conditional = run.model.conditional
    subject = scorecard.drawn(seed=SCORED_SEED, repeats=1, ema=True, conditional=conditional, checkpoint_sha256=None)
    facts = scorecard.protocol(scorer, scorer.reference, subject, batch_size=batch_size, device=run.runtime.device)
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
    scorecard.write(run_dir / "eval", f"{run.images:012d}{ending}", facts, {**result, **origin}, seconds=seconds)
