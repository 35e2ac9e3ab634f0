"""The pictures that a run writes on its way, always of the same latents or images, so that they can be compared."""

from pathlib import Path

import numpy as np
import torch

from gancli.data.levels import binarized
from gancli.data.spec import scaled
from gancli.metrics.directions import panels, shown
from gancli.models.base import Model
from gancli.models.sampling import class_labels, columns, draw
from gancli.models.translation import Translation
from gancli.training import runtime
from gancli.training.run import Run
from gancli.training.tracker import Tracker
from gancli.views.completion import can_complete, completions, missing_part, panel
from gancli.views.grids import make_grid, save_png

COMPLETED = 8  # images in a grid of completions


def write_samples(run: Run, run_dir: Path, tracker: Tracker) -> None:
    """Write the sample grid: always the same latents, so that grids can be compared; of classes in full rows only."""
    if isinstance(run.model, Translation):
        return _write_panels(run, run_dir, tracker)
    n = run.cfg.samples.n
    width = columns(run.model, n)
    n -= n % width if width else 0
    with runtime.undisturbed(), run.ema.sampling() as model:
        batches = draw(model, n, seed=run.cfg.seed, batch_size=run.cfg.batch_size, labels=class_labels(model, n))
        drawn = torch.cat([images for images, _ in batches])
    picture = _scatter(run, model, drawn) if model.spec.points else make_grid(drawn, width)
    save_png(run_dir / "samples" / f"{run.images:012d}.png", picture)
    tracker.image("samples", picture, run.images)
    if run.cfg.samples.completion and can_complete(run.model):
        _write_completions(run, run_dir, tracker)


def _write_completions(run: Run, run_dir: Path, tracker: Tracker) -> None:
    """Write completions of the same held-out images, by the same noise."""
    images = binarized(run.source.split("validation" if run.cfg.data.get("validation", 0) else "test"))
    image = scaled(torch.from_numpy(images.pixels[:COMPLETED]).to(run.runtime.device))
    label = torch.from_numpy(images.labels[:COMPLETED]).to(image.device) if run.model.conditional else None
    mask = missing_part(run.cfg.samples.completion, run.model.spec).to(image.device)
    with runtime.undisturbed(), run.ema.sampling() as model:
        done = completions(model, image, mask, 6, seed=run.cfg.seed, label=label, batch_size=run.cfg.batch_size)
    picture = panel(image, mask, done)
    save_png(run_dir / "completions" / f"{run.images:012d}.png", picture)
    tracker.image("completion", picture, run.images)


def _write_panels(run: Run, run_dir: Path, tracker: Tracker) -> None:
    """Write translations of always the same test pictures, every direction of the model."""
    with runtime.undisturbed(), run.ema.sampling() as model:
        pictures = panels(model, shown(run.source), run.cfg.samples.n, seed=run.cfg.seed)
    for name, picture in pictures.items():
        save_png(run_dir / "samples" / f"{run.images:012d}-{name}.png", picture)
        tracker.image(f"samples/{name}", picture, run.images)


def _scatter(run: Run, model: Model, drawn: torch.Tensor) -> np.ndarray:
    """Draw points over real ones, and the discriminator as it stands."""
    from gancli.views.scatter import picture  # imports matplotlib, which takes as long as the rest of the start

    real = run.source.split("train")
    return picture(model, drawn, real.pixels, f"{real.name} after {run.images:,} points")
