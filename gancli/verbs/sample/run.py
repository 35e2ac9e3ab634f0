"""Samples from a checkpoint: PNG files, one npz, a grid, or a walk between latents; of one class or of all in turn.

gancli sample ckpt=outputs/mnist-dcgan/... n=64 out=samples/
gancli sample ckpt=outputs/mnist-cdcgan/... label=3
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gancli import config
from gancli.console import setup_logging
from gancli.data.source import Images
from gancli.errors import UsageError
from gancli.files import replacing
from gancli.models.base import Model
from gancli.models.sampling import class_labels, columns, draw, set_drawing
from gancli.models.translation import Translation
from gancli.training import checkpoint
from gancli.training.runtime import Runtime
from gancli.views.grids import make_grid, save_png, to_pil
from gancli.views.interpolation import STEPS, walk
from gancli.views.translated_folder import check_direction, translate_folder

log = logging.getLogger("gancli")


def sample(cfg: Any) -> dict[str, float]:
    """Write ``cfg.n`` images of a checkpoint into ``cfg.out``.

    Raises:
        UsageError: no such checkpoint, a folder that holds files already, or a kind or label that the model has not.
    """
    setup_logging()
    runtime = Runtime.from_config(cfg.runtime)
    saved = checkpoint.load(cfg.ckpt)
    model = checkpoint.rebuild(saved, ema=cfg.ema, device=runtime.device, trust=cfg.trust)
    if cfg.source or cfg.direction:
        return _translate(cfg, saved, model)
    set_drawing(model, cfg.temperature, cfg.sampler)
    label = saved.class_number(cfg.label)
    labels = class_labels(model, cfg.n, label)
    name = f"{saved.images:012d}-{cfg.kind}-{cfg.format}-seed{cfg.seed}-n{cfg.n}" + ("" if cfg.ema else "-raw")
    name += "" if label is None else f"-label{label}"
    name += "" if cfg.temperature == 1 else f"-temperature{cfg.temperature}"
    out = _folder(cfg, saved, name)
    if cfg.kind == "interpolation":
        images, width = walk(model, max(1, cfg.n // STEPS), seed=cfg.seed, label=label), STEPS
        labels = None if labels is None else labels[: len(images) // STEPS].repeat_interleave(STEPS)
    else:
        batches = draw(model, cfg.n, seed=cfg.seed, batch_size=cfg.batch_size, labels=labels)
        images = torch.cat([each for each, _ in batches])
        width = columns(model, cfg.n) if label is None else None
    if model.spec.points:
        source, _ = config.build_data(saved.config.data, trust=cfg.trust)
        _write_points(out, model, images, source.split("train"), saved.images, cfg.format)
    else:
        _write(out, images.cpu(), labels, cfg.format, width)
    log.info("%d images of %s at %s images -> %s", len(images), saved.path, f"{saved.images:,}", out)
    return {"n": len(images)}


def _folder(cfg: Any, saved: checkpoint.Checkpoint, name: str) -> Path:
    """Make the folder that is written into, ``name`` among the run's samples unless there is an ``out``."""
    out = Path(cfg.out).expanduser() if cfg.out else checkpoint.run_dir(saved.path) / "samples" / name
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is not empty, and samples overwrite nothing; give another folder with out=...")
    out.mkdir(parents=True, exist_ok=True)
    return out


def _translate(cfg: Any, saved: checkpoint.Checkpoint, model: Model) -> dict[str, float]:
    """Write the translations of the pictures in ``cfg.source``."""
    if not isinstance(model, Translation):
        raise UsageError(f"source and direction: {type(model).__name__} translates nothing; leave them away")
    if not cfg.source:
        raise UsageError("source is missing: name a folder or zip of pictures to translate, source=photos/")
    direction = check_direction(model, cfg.direction, saved.classes)
    out = _folder(cfg, saved, f"{saved.images:012d}-{Path(cfg.source).expanduser().resolve().stem}-{direction}")
    count = translate_folder(model, cfg.source, direction, out, seed=cfg.seed)
    log.info("%d pictures of %s, %s -> %s", count, cfg.source, direction, out)
    return {"n": count}


def _write(out: Path, images: Tensor, labels: Tensor | None, kind: str, width: int | None) -> None:
    """Write the grid, and images as numbered PNGs (png) or as one array ``images``, (N, H, W, C) uint8 (npz).

    An npz holds ``labels``, (N,) int64, too, if there are any.
    """
    save_png(out / "grid.png", make_grid(images, width))
    if kind == "npz":
        known = {} if labels is None else {"labels": labels.numpy()}
        with replacing(out / "images.npz") as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, images=images.permute(0, 2, 3, 1).numpy(), **known)
    elif kind == "png":
        for i, image in enumerate(images):
            save_png(out / f"{i:06d}.png", to_pil(image))


def _write_points(out: Path, model: Model, drawn: Tensor, real: Images, images: int, kind: str) -> None:
    """Write a picture of points over real ones, and their coordinates as text (png) or as ``points``, (N, D) (npz)."""
    from gancli.views.scatter import picture  # imports matplotlib

    points = drawn.flatten(1).cpu().numpy()
    save_png(out / "grid.png", picture(model, drawn, real.pixels, f"{real.name} after {images:,} points"))
    if kind == "npz":
        with replacing(out / "points.npz") as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, points=points)
    elif kind == "png":
        with replacing(out / "points.csv") as temporary:
            np.savetxt(temporary, points, "%.9g", ",")
