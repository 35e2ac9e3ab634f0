"""Evaluation during training: the same scores as gancli eval, from the averaged weights."""

import logging
from pathlib import Path

from gancli.metrics.registry import choosing
from gancli.metrics.scoring import evaluation
from gancli.metrics.scoring.base import Scoring, together
from gancli.metrics.scoring.evaluation import Origin, weights
from gancli.models.base import Model
from gancli.training import checkpoint
from gancli.training.run import Run
from gancli.training.stopping import interruptible
from gancli.training.tracker import Tracker

log = logging.getLogger("gancli")
SCORED_SEED = 0  # of the scored latents, as in gancli eval, so that runs with different seeds share one protocol


def evaluate(run: Run, run_dir: Path, tracker: Tracker) -> str:
    """Score the averaged model on the reference split, keep the best checkpoint, and return a summary for the bar.

    The score cards are those that ``gancli eval`` writes for these weights, without the scores of real images. All
    processes call it, and share the images; the first one writes, and the others return nothing.

    Raises:
        Stopped: a signal asks to stop; nothing is logged then.
        RankLost: another process has ended.
    """
    settings, scoring = run.cfg.eval, run.scoring
    assert scoring is not None, "run.build() makes one unless eval.every is 0"
    with run.runtime.undisturbed(), run.ema.sampling() as model, interruptible():
        values = _scored(run, run_dir, scoring, model)
    if not run.runtime.is_main:
        return ""
    tracker.write(run.images, {f"eval/{key}": value for key, value in values.items()})
    candidates = choosing(settings.best, scoring.settings.metrics, scoring.better)
    value, higher = next((values[key], higher) for key, higher in candidates.items() if key in values)
    # Ties go to the later checkpoint: all 25 modes are found long before they are modelled well.
    better = run.best is None or (value >= run.best if higher else value <= run.best)
    if better:
        run.best = value
        run.save(run_dir / checkpoint.FOLDER / checkpoint.BEST)
    text = "  ".join(f"{key} {value:.4g}" for key, value in values.items() if "/" not in key)  # the rest is logged
    log.info("%s images: %s on %s%s", f"{run.images:,}", text, settings.split, " (best)" if better else "")
    return text


def _scored(run: Run, run_dir: Path, scoring: Scoring, model: Model) -> dict[str, float]:
    """Write the score cards of all subjects and return their values; in processes but the first, take part in it."""
    facts = weights(seed=SCORED_SEED, repeats=1, ema=True, checkpoint_sha256=None)
    noted = {"checkpoint": None, "images_seen": run.images}
    origin = Origin(model, facts, noted, run_dir / "eval", f"{run.images:012d}", run.images)
    if not run.runtime.is_main:
        for each in scoring.subjects:
            evaluation.assist(each, origin, seed=SCORED_SEED)
        return {}
    results = {each.name: evaluation.evaluate(scoring, each, origin, seed=SCORED_SEED) for each in scoring.subjects}
    return together({name: result.values for name, result in results.items()})
