"""Completions of images with a part missing, and what the model thinks of them.

gancli complete ckpt=latest image=3 mask=bottom
gancli complete ckpt=latest image=face.png mask=hole.png n=8
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gancli import config
from gancli.console import setup_logging
from gancli.data.levels import binarized
from gancli.data.spec import quantise, scaled
from gancli.errors import UsageError
from gancli.files import replacing
from gancli.models.base import Model
from gancli.models.explicit import Explicit
from gancli.models.sampling import set_drawing
from gancli.training import checkpoint
from gancli.training.runtime import Runtime
from gancli.views.completion import can_complete, completions, missing_part, panel, read_picture
from gancli.views.grids import save_png, to_pil

log = logging.getLogger("gancli")


def complete(cfg: Any) -> dict[str, float]:
    """Write ``cfg.n`` completions of each of ``cfg.image`` into ``cfg.out``, with their conditional log-probabilities.

    Raises:
        UsageError: no such checkpoint, image or mask, a model that cannot complete, or a folder that holds files.
    """
    setup_logging()
    runtime = Runtime.from_config(cfg.runtime)
    saved = checkpoint.load(cfg.ckpt)
    model = checkpoint.rebuild(saved, ema=cfg.ema, device=runtime.device, trust=cfg.trust)
    if not can_complete(model):
        raise UsageError(f"{type(model).__name__} cannot complete images; kde and models of pixels in order can")
    set_drawing(model, cfg.temperature, cfg.sampler)
    mask = missing_part(str(cfg.mask), model.spec).to(model.device)
    names, image, label = _images(cfg, saved, model)
    out = Path(cfg.out).expanduser() if cfg.out else checkpoint.run_dir(saved.path) / "completions" / _name(cfg, saved)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is not empty, and completions overwrite nothing; give another folder with out=...")
    done = completions(model, image, mask, cfg.n, seed=cfg.seed, label=label, batch_size=cfg.batch_size)
    nats = [_nats(model, each, mask, label, cfg.batch_size) for each in (image, *done.unbind(1))]
    truth, drawn_nats = nats[0], torch.stack(nats[1:], 1)  # (N,), (N, n)
    unseen = int(model.unseen(mask).sum())
    if unseen:
        log.warning(
            "%s draws pixels in order: %d that are there come after the first missing one, and what is drawn before "
            "them did not see them",
            type(model).__name__, unseen,
        )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    save_png(out / "grid.png", panel(image, mask, done))
    for name, row in zip(names, quantise(done.flatten(0, 1)).unflatten(0, (-1, cfg.n)), strict=True):
        for i, each in enumerate(row):
            save_png(out / f"{name}-{i:02d}.png", to_pil(each))
    _write(out / "completions.json", cfg, names, truth, drawn_nats, int(mask.sum()), unseen)
    for name, true, row in zip(names, truth.tolist(), drawn_nats.tolist()):
        log.info("%s: log p(missing | seen) %.2f nats; completions %s", name, true, " ".join(f"{v:.2f}" for v in row))
    log.info("%d completions of %d images -> %s", cfg.n, len(names), out)
    return {"log_prob": float(truth.mean()), "log_prob_completions": float(drawn_nats.mean())}


def _name(cfg: Any, saved: checkpoint.Checkpoint) -> str:
    what = "-".join(map(str, cfg.image)) if not isinstance(cfg.image, str | int) else Path(str(cfg.image)).stem
    name = f"{saved.images:012d}-{what[:40]}-{Path(str(cfg.mask)).stem}-seed{cfg.seed}-n{cfg.n}"
    return name + ("" if cfg.ema else "-raw") + ("" if cfg.temperature == 1 else f"-temperature{cfg.temperature}")


@torch.no_grad()
def _nats(model: Explicit, image: Tensor, mask: Tensor, label: Tensor | None, size: int) -> Tensor:
    """Return log p of the missing part, (N,), in parts of a batch."""
    rows = range(0, len(image), size)
    labels = [None if label is None else label[i : i + size] for i in rows]
    return torch.cat([model.log_prob_of(image[i : i + size], mask, each) for i, each in zip(rows, labels)]).cpu()


def _images(cfg: Any, saved: checkpoint.Checkpoint, model: Model) -> tuple[list[str], Tensor, Tensor | None]:
    """Return names, images (N, C, H, W) in [-1, 1] and labels: of a file, or of the run's own data by number."""
    spec = model.spec
    if isinstance(cfg.image, str):
        pixels = read_picture(cfg.image, spec.channels)
        if pixels.shape != spec.shape:
            have, want = ("x".join(map(str, each)) for each in (pixels.shape, spec.shape))
            raise UsageError(f"image={cfg.image} is {have} and the model's images are {want}; save it in that size")
        names, pixels, labels = [Path(cfg.image).stem], pixels[None], None
    else:
        rows = [cfg.image] if isinstance(cfg.image, int) else list(cfg.image)
        source, _ = config.build_data(saved.config.data, trust=cfg.trust)
        images = binarized(source.split(cfg.split))
        if not rows or not all(isinstance(r, int) and 0 <= r < len(images) for r in rows):
            raise UsageError(f"image={cfg.image}: {cfg.split} has images 0 to {len(images) - 1}; or name a picture")
        names = [f"{cfg.split}-{row:06d}" for row in rows]
        pixels, labels = images.pixels[rows], None if images.labels is None else images.labels[rows]
    label = None
    if model.conditional:
        if cfg.label is not None:
            labels = np.full(len(pixels), saved.class_number(cfg.label))
        if labels is None or not (0 <= labels.min() <= labels.max() < spec.num_classes):
            raise UsageError(f"label={cfg.label}: the model completes images of a class, 0 to {spec.num_classes - 1}")
        label = torch.as_tensor(labels, dtype=torch.int64, device=model.device)
    image = scaled(torch.from_numpy(pixels).to(model.device))
    likelihood = getattr(model, "likelihood", None)
    return names, image if likelihood is None else likelihood.snap(image), label


def _write(
    file: Path, cfg: Any, names: Sequence[str], truth: Tensor, nats: Tensor, missing: int, unseen: int
) -> None:  # fmt: skip
    """Write what was asked and the log-probabilities, in nats, of the true missing part and of each completion."""
    result = {
        "checkpoint": str(cfg.ckpt), "mask": str(cfg.mask), "missing_pixels": missing, "seed": cfg.seed,
        "pixels_there_but_unseen": unseen, "temperature": cfg.temperature,
        "images": [
            {"name": name, "log_prob_truth": true, "log_prob": row}
            for name, true, row in zip(names, truth.tolist(), nats.tolist())
        ],
    }  # fmt: skip
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
