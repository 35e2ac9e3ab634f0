"""Completions of images with a part missing, and their log-probabilities.

gancli complete ckpt=latest image=3 mask=bottom
gancli complete ckpt=latest image=face.png mask=hole.png n=8
"""

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from gancli import config
from gancli.console import setup_logging
from gancli.errors import UsageError, counted
from gancli.files import check_empty, output_folder, replacing, short
from gancli.models.explicit import Explicit
from gancli.training import checkpoint
from gancli.training.guard import filling
from gancli.training.runtime import Runtime
from gancli.views import choice, pictures
from gancli.views.completion import Completed, Completion

log = logging.getLogger("gancli")


def complete(cfg: Any) -> dict[str, float]:
    """Write ``cfg.n`` completions of each image of ``cfg.image`` into ``cfg.out``, with conditional log-probabilities.

    Raises:
        UsageError: no such checkpoint, image or mask, a model that cannot complete, or a folder that holds files.
    """
    setup_logging()
    runtime = Runtime.from_config(cfg.runtime)
    saved = checkpoint.load(cfg.ckpt)
    model = checkpoint.rebuild(saved, ema=cfg.ema, device=runtime.device, trust=cfg.trust)
    runtime.place(model)
    if not Completion.suits(model):
        raise UsageError(f"{type(model).__name__} cannot complete images; use kde or an autoregressive model")
    config.set_sampling(model, saved.config.model, cfg.sampling)
    explicit = cast("Explicit", model)
    if not isinstance(cfg.image, int | str | Sequence) or isinstance(cfg.image, bool):
        raise UsageError(f"image={cfg.image}: expected numbers of images, or an image file")
    view = Completion(str(cfg.mask), cfg.image, cfg.n, cfg.split, cfg.label)
    run = checkpoint.run_dir(saved.path)
    out = output_folder(cfg.out, run, f"completions/{_name(cfg, saved)}")
    check_empty(out)
    pictures.check_amount(out, f"n={cfg.n}", view.amount(cfg.n)[1], explicit.spec, "png")
    data = choice.run_data(saved.config.data, saved.classes, saved.images, trust=cfg.trust)
    found = view.complete(model, data, seed=cfg.seed, batch_size=cfg.batch_size)
    truth = _nats(explicit, found, cfg.batch_size)
    parts: list[Tensor] = []
    found = found._replace(done=_measured(explicit, found, parts))
    unseen = int(explicit.unseen(found.mask).sum())
    if unseen:
        log.warning(
            "%s draws pixels one by one: %d given pixels come after the first missing one, and pixels drawn "
            "before them are not conditioned on them",
            type(model).__name__, unseen,
        )  # fmt: skip
    drawn_pictures = {"": view.picture(found)}
    pictures.check_names(out, drawn_pictures)
    with filling(out) as folder:
        pictures.write(folder, drawn_pictures, "png")
        drawn = torch.cat(parts).unflatten(0, (-1, found.n))  # (N, n)
        _write(folder / "completions.json", cfg, found.names, truth, drawn, int(found.mask.sum()), unseen)
    for name, true, row in zip(found.names, truth.tolist(), drawn.tolist()):
        log.info("%s: log p(missing | given) %.2f nats; completions %s", name, true, " ".join(f"{v:.2f}" for v in row))
    log.info("%s of each of %s -> %s", counted(cfg.n, "completion"), counted(len(found.names), "image"), out)
    return {"log_prob": float(truth.mean()), "log_prob_completions": float(drawn.mean())}


def _name(cfg: Any, saved: checkpoint.Checkpoint) -> str:
    what = "-".join(map(str, cfg.image)) if not isinstance(cfg.image, str | int) else Path(str(cfg.image)).stem
    name = f"{saved.images:012d}-{short(what)}-{short(Path(str(cfg.mask)).stem)}-seed{cfg.seed}-n{cfg.n}"
    return name + ("" if cfg.ema else "-raw") + "".join(f"-{key}{value}" for key, value in cfg.sampling.items())


@torch.no_grad()
def _nats(model: Explicit, found: Completed, size: int) -> Tensor:
    """Return log p of the true missing parts, (N,), computed in batches of ``size``."""
    rows, label = range(0, len(found.image), size), found.label
    labels = [None if label is None else label[i : i + size] for i in rows]
    parts = zip((found.image[i : i + size] for i in rows), labels)
    return torch.cat([model.log_prob_of(image, found.mask, each) for image, each in parts]).cpu()


@torch.no_grad()
def _measured(model: Explicit, found: Completed, nats: list[Tensor]) -> Iterator[Tensor]:
    """Pass the batches of completions on, and append log p of their missing parts, (b,), to ``nats``."""
    at = 0
    for done in found.done:
        label = None
        if found.label is not None:
            label = found.label[torch.arange(at, at + len(done), device=done.device) // found.n]
        nats.append(model.log_prob_of(done, found.mask, label).cpu())
        at += len(done)
        yield done


def _write(
    file: Path, cfg: Any, names: Sequence[str], truth: Tensor, nats: Tensor, missing: int, unseen: int
) -> None:  # fmt: skip
    """Write the request and the log-probabilities, in nats, of the true missing part and of each completion."""
    result = {
        "checkpoint": str(cfg.ckpt), "mask": str(cfg.mask), "missing_pixels": missing, "seed": cfg.seed,
        "pixels_there_but_unseen": unseen, "temperature": cfg.sampling.get("temperature", 1.0),
        "images": [
            {"name": name, "log_prob_truth": true, "log_prob": row}
            for name, true, row in zip(names, truth.tolist(), nats.tolist())
        ],
    }  # fmt: skip
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
