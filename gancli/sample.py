"""Samples from a checkpoint: PNG files, one npz, a grid, or a walk between latents.

gancli sample ckpt=outputs/mnist-dcgan/... n=64 out=samples/
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gancli import checkpoint
from gancli.console import setup_logging
from gancli.errors import TrainingDiverged, UsageError
from gancli.files import replacing
from gancli.grids import make_grid, quantise, save_png, to_pil
from gancli.metrics.base import Likelihood
from gancli.models.base import Adversarial, Explicit, Model
from gancli.runtime import Runtime

log = logging.getLogger("gancli")
STEPS = 10  # images per row of an interpolation


@torch.no_grad()
def draw(model: Model, n: int, *, seed: int, batch_size: int) -> Iterator[Tensor]:
    """Draw n images in batches, (b, C, H, W) uint8 on the model's device: a function of seed and batch size alone.

    Raises:
        TrainingDiverged: an image is not finite, which as bytes would look like any other.
    """
    generator = torch.Generator(model.device).manual_seed(seed)
    for start in range(0, n, batch_size):
        images = model.sample(min(batch_size, n - start), generator=generator)
        if not images.isfinite().all():
            raise TrainingDiverged("the model draws images that are not finite; take an earlier checkpoint")
        yield quantise(images)


def likelihood_of(model: Model) -> Likelihood | None:
    """Return what the metrics may ask a model that knows the probability of an image; None if it does not."""
    if not isinstance(model, Explicit):
        return None
    return Likelihood(lambda image, label: -model.log_prob(image, label), model.density, model.spec.levels)


@torch.no_grad()
def walk(model: Model, rows: int, *, seed: int) -> Tensor:
    """Interpolate between ``rows`` pairs of latents, (rows * STEPS, C, H, W) uint8, row by row.

    Raises:
        UsageError: the model has no latents.
    """
    if not isinstance(model, Adversarial):
        raise UsageError(f"{type(model).__name__} has no latent space to walk in; use kind=grid")
    generator = torch.Generator(model.device).manual_seed(seed)
    ends = model.latent(2 * rows, generator)
    t = torch.linspace(0, 1, STEPS, device=model.device).view(-1, *[1] * (ends.dim() - 1))
    return torch.cat([quantise(model.generate(model.interpolate(a, b, t))) for a, b in zip(ends[::2], ends[1::2])])


def sample(cfg: Any) -> dict[str, float]:
    """Write ``cfg.n`` images of a checkpoint into ``cfg.out``.

    Raises:
        UsageError: no such checkpoint, a folder that holds files already, or a kind that the model has not.
    """
    setup_logging()
    runtime = Runtime.from_config(cfg.runtime)
    saved = checkpoint.load(cfg.ckpt)
    model = checkpoint.rebuild(saved, ema=cfg.ema, device=runtime.device, trust=cfg.trust)
    name = f"{saved.images:012d}-{cfg.kind}-{cfg.format}-seed{cfg.seed}-n{cfg.n}" + ("" if cfg.ema else "-raw")
    out = Path(cfg.out).expanduser() if cfg.out else checkpoint.run_dir(saved.path) / "samples" / name
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is not empty, and samples overwrite nothing; give another folder with out=...")
    out.mkdir(parents=True, exist_ok=True)
    if cfg.kind == "interpolation":
        images, columns = walk(model, max(1, cfg.n // STEPS), seed=cfg.seed), STEPS
    else:
        images, columns = torch.cat(list(draw(model, cfg.n, seed=cfg.seed, batch_size=cfg.batch_size))), None
    _write(out, images.cpu(), cfg.format, columns)
    log.info("%d images of %s at %s images -> %s", len(images), saved.path, f"{saved.images:,}", out)
    return {"n": len(images)}


def _write(out: Path, images: Tensor, kind: str, columns: int | None) -> None:
    """Write the grid, and images as numbered PNGs (png) or as one array ``images``, (N, H, W, C) uint8 (npz)."""
    save_png(out / "grid.png", make_grid(images, columns))
    if kind == "npz":
        with replacing(out / "images.npz") as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, images=images.permute(0, 2, 3, 1).numpy())
    elif kind == "png":
        for i, image in enumerate(images):
            save_png(out / f"{i:06d}.png", to_pil(image))
