"""Samples from a checkpoint: PNG files, one npz, a grid, or a walk between latents; of one class or of all in turn.

gancli sample ckpt=outputs/mnist-dcgan/... n=64 out=samples/
gancli sample ckpt=outputs/mnist-cdcgan/... label=3
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gancli import checkpoint, config
from gancli.console import setup_logging
from gancli.data.source import Images
from gancli.data.spec import dequantised
from gancli.errors import TrainingDiverged, UsageError
from gancli.files import replacing
from gancli.grids import make_grid, quantise, save_png, to_pil
from gancli.metrics.base import Likelihood
from gancli.models.autoregressive import Autoregressive
from gancli.models.base import Adversarial, Model
from gancli.models.explicit import Explicit
from gancli.models.translation import Translation
from gancli.runtime import Runtime
from gancli.translation.files import check_direction, translate_folder

log = logging.getLogger("gancli")
STEPS = 10  # images per row of an interpolation


@torch.no_grad()
def draw(
    model: Model, n: int, *, seed: int, batch_size: int, labels: Tensor | None = None
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Draw n images in batches, with their labels: a function of seed, batch size and labels alone.

    Args:
        model: what draws.
        n: images.
        seed: of the latents.
        batch_size: images per batch.
        labels: of a conditional model, (n,) int64: of_classes() or as_in(); None draws without labels.

    Yields:
        Images (b, C, H, W) uint8 on the model's device, and labels (b,) int64 there or None.

    Points are (b, D, 1, 1) float32.

    Raises:
        TrainingDiverged: an image is not finite, which as bytes would look like any other.
    """
    generator = torch.Generator(model.device).manual_seed(seed)
    for start in range(0, n, batch_size):
        size = min(batch_size, n - start)
        label = None if labels is None else labels[start : start + size].to(model.device)
        images = model.sample(size, label=label, generator=generator)
        if not images.isfinite().all():
            raise TrainingDiverged("the model draws images that are not finite; take an earlier checkpoint")
        yield finished(model, images), label


def of_classes(model: Model, n: int, label: int | None = None) -> Tensor | None:
    """Return labels for n images, (n,) int64: all of one class, or the classes in turn; None: the model knows none.

    Raises:
        UsageError: a label that the model does not know.
    """
    classes = model.spec.num_classes
    if not model.conditional:
        if label is not None:
            raise UsageError(
                f"label={label}: {type(model).__name__} draws images of any class; leave label away, or train a "
                "conditional model, such as model=cgan"
            )
        return None
    if label is None:
        return torch.arange(n) % classes
    if not 0 <= label < classes:
        raise UsageError(f"label={label}: the model was trained on {classes} classes, 0 to {classes - 1}")
    return torch.full((n,), label)


def as_in(model: Model, data: Images, n: int, *, seed: int) -> Tensor | None:
    """Draw labels for n images, (n,) int64, as frequent as in a split; None: the model knows no classes.

    Raises:
        UsageError: the split has other classes, or none.
    """
    if not model.conditional:
        return None
    if data.labels is None or data.spec.num_classes != model.spec.num_classes:
        raise UsageError(
            f"{type(model).__name__} draws as often of each class as {data.name} has it, and {data.name} has "
            f"{data.spec.num_classes} classes where the model knows {model.spec.num_classes}: choose its own data"
        )
    rows = torch.randint(len(data), (n,), generator=torch.Generator().manual_seed(seed))
    return torch.from_numpy(data.labels)[rows]


def columns(model: Model, n: int) -> int | None:
    """Return how wide a grid of n images with of_classes() is: a column per class; None: a square, as of no classes.

    A square, too, where there are more classes than images.
    """
    classes = model.spec.num_classes
    return classes if model.conditional and n >= classes else None


def likelihood_of(model: Model) -> Likelihood | None:
    """Return what the metrics may ask a model that knows the probability of an image; None if it does not."""
    if not isinstance(model, Explicit):
        return None
    levels = model.spec.levels
    if not model.spec.dequantised:
        return Likelihood(lambda image, label: -model.log_prob(image, label), model.density, levels)
    noise = torch.Generator(model.device).manual_seed(0)  # the same for every model that is asked

    def nats(image: Tensor, label: Tensor | None) -> Tensor:
        return -model.log_prob(dequantised(image, levels, noise), label)

    return Likelihood(nats, model.density, levels, spread=levels)


@torch.no_grad()
def walk(model: Model, rows: int, *, seed: int, label: int | None = None) -> Tensor:
    """Interpolate between ``rows`` pairs of latents, (rows * STEPS, C, H, W) uint8, row by row, each of one class.

    Raises:
        UsageError: the model has no latents, or does not know the label.
    """
    if not isinstance(model, Adversarial):
        raise UsageError(f"{type(model).__name__} has no latent space to walk in; use kind=grid")
    generator = torch.Generator(model.device).manual_seed(seed)
    ends = model.latent(2 * rows, generator)
    t = torch.linspace(0, 1, STEPS, device=model.device).view(-1, *[1] * (ends.dim() - 1))
    classes = of_classes(model, rows, label)
    labels = [None] * rows if classes is None else classes.to(model.device)[:, None].expand(-1, STEPS)
    pairs = zip(ends[::2], ends[1::2], labels)
    return torch.cat([finished(model, model.generate(model.interpolate(a, b, t), each)) for a, b, each in pairs])


def finished(model: Model, images: Tensor) -> Tensor:
    """Return images as bytes, which is what files hold and metrics see; points as they are."""
    return images if model.spec.points else quantise(images)


def set_drawing(model: Model, temperature: float, sampler: str | None) -> None:
    """Set how a model of pixels in order draws.

    Raises:
        UsageError: no such sampler, or another kind of model.
    """
    if not isinstance(model, Autoregressive):
        if temperature != 1 or sampler:
            raise UsageError(
                f"temperature= and sampler= are for models of pixels in order; {type(model).__name__} is none"
            )
        return
    model.temperature = temperature
    if sampler:
        model.check_sampler(sampler)
        model.sampler = sampler


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
    labels = of_classes(model, cfg.n, label)
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
    from gancli.scatter import picture  # imports matplotlib

    points = drawn.flatten(1).cpu().numpy()
    save_png(out / "grid.png", picture(model, drawn, real.pixels, f"{real.name} after {images:,} points"))
    if kind == "npz":
        with replacing(out / "points.npz") as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, points=points)
    elif kind == "png":
        with replacing(out / "points.csv") as temporary:
            np.savetxt(temporary, points, "%.9g", ",")
