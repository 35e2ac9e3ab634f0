"""Latents of real pictures, by optimisation: what a model can draw of them, and where it has it.

gancli project ckpt=latest images=faces/
gancli project ckpt=latest 'image=[0,1,2]' space=w+ steps=300
"""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gancli.console import setup_logging, watched
from gancli.data.spec import quantise, scaled
from gancli.errors import counted
from gancli.files import check_empty, output_folder, replacing, short, shown
from gancli.models import likeness
from gancli.models.base import Adversarial
from gancli.models.inversion import RESTARTS, Inverted, Settings, invert, searchable, space_of
from gancli.models.sampling import class_labels as check_class
from gancli.training import checkpoint
from gancli.training.guard import filling
from gancli.training.runtime import Runtime
from gancli.verbs.project import figure
from gancli.views import choice, figures, pictures
from gancli.views.base import Picture, RunData
from gancli.views.chosen import Chosen, class_labels, from_file, from_folder, numbered
from gancli.views.grids import make_grid

log = logging.getLogger("gancli")
EARLY = (0.1, 0.3)  # shares of the steps after which a projection is shown


def project(cfg: Any) -> dict[str, float]:
    """Write the latents of the pictures that ``cfg.images`` or ``cfg.image`` names into ``cfg.out``.

    Beside the images of the latents there are ``grid.png`` (target and projections after a part of the steps),
    ``curve.png``, ``latents.npz`` and ``projection.json``.

    Returns:
        The means over the pictures of ``distance`` and of ``mse``, the mean squared difference of pixels in [-1, 1].

    Raises:
        UsageError: no such checkpoint, picture or class, a model that cannot project, a picture of another size, or a
            folder that holds files.
    """
    setup_logging()
    runtime = Runtime.from_config(cfg.runtime)
    saved = checkpoint.load(cfg.ckpt)
    model = searchable(checkpoint.rebuild(saved, ema=cfg.ema, device=runtime.device, trust=cfg.trust))
    space = space_of(model, None if cfg.space == "auto" else cfg.space)
    settings = Settings(space, cfg.steps, cfg.lr, cfg.restarts or RESTARTS[space], cfg.seed)
    run = checkpoint.run_dir(saved.path)
    out = output_folder(cfg.out, run, f"projections/{_name(cfg, saved, settings)}")
    check_empty(out)
    data = choice.run_data(saved.config.data, saved.classes, saved.images, trust=cfg.trust)
    chosen = _chosen(cfg, data, model)
    check_class(model, 1, data.class_number(cfg.label))
    label = class_labels(model, data, chosen, cfg.label)
    target = scaled(torch.from_numpy(np.ascontiguousarray(chosen.pixels)).to(model.device))
    early = sorted({max(1, round(share * cfg.steps)) for share in EARLY} | {cfg.steps})
    with watched() as watch:
        found = invert(
            model, target, label, settings, batch_size=cfg.batch_size, milestones=early[:-1], watch=watch
        )  # fmt: skip
    drawn = {"": picture(target, found, chosen.names, cfg.steps, label)}
    pictures.check_names(out, drawn)
    errors = (found.image - target).square().flatten(1).mean(1)
    with filling(out) as folder:
        pictures.write(folder, drawn, "png")
        figures.save(figure.curve(found.curve.cpu().numpy(), type(model).__name__, settings), folder / "curve.png")
        _write_latents(folder / "latents.npz", space, found, errors, label, chosen.names)
        _write_facts(folder / "projection.json", cfg, saved, settings, chosen.names, found, errors)
    for name, distance, error in zip(chosen.names, found.distance.tolist(), errors.tolist()):
        log.info("%s: distance %.4f, mean squared difference of pixels %.4f", shown(name), distance, error)
    log.info("%s in %s of %s -> %s", counted(len(chosen.names), "picture"), space, saved.path, out)
    return {"distance": found.distance.mean().item(), "mse": errors.mean().item()}


def picture(target: Tensor, found: Inverted, names: list[str], steps: int, label: Tensor | None = None) -> Picture:
    """Return a picture with a row per target: it, its projections on the way, and the last; and the last as images."""
    early = sorted(found.after)
    columns = torch.stack([target, *(found.after[step] for step in early), found.image], 1)
    heads = ["target", *(f"{step:,}" for step in early), f"{steps:,} steps"]
    grid = make_grid(
        quantise(columns.flatten(0, 1)), len(heads), heads=heads, names=[shown(short(each)) for each in names]
    )
    return Picture(grid, quantise(found.image).cpu(), None if label is None else label.cpu(), names)


def _chosen(cfg: Any, data: RunData, model: Adversarial) -> Chosen:
    if cfg.images is not None:
        return from_folder(cfg.images, model.spec)
    return from_file(cfg.image, model.spec) if isinstance(cfg.image, str) else numbered(data, cfg.split, cfg.image)


def _name(cfg: Any, saved: checkpoint.Checkpoint, settings: Settings) -> str:
    """Return a folder name that describes the request."""
    path = cfg.images if cfg.images is not None else cfg.image if isinstance(cfg.image, str) else None
    numbers = cfg.image if hasattr(cfg.image, "__iter__") else [cfg.split if cfg.image is None else cfg.image]
    what = Path(path).expanduser().resolve().stem if path else "-".join(map(str, numbers))
    label = "" if cfg.label is None else f"-label{short(str(cfg.label))}"
    how = f"{settings.space}-seed{cfg.seed}-steps{cfg.steps}-lr{cfg.lr:g}-restarts{settings.restarts}"
    return f"{saved.images:012d}-{short(what)}-{how}{label}" + ("" if cfg.ema else "-raw")


def _write_latents(
    file: Path, space: str, found: Inverted, errors: Tensor, label: Tensor | None, names: list[str]
) -> None:  # fmt: skip
    """Write ``z`` or ``w``, (N, ...) float32, distances and squared errors (N,), names, and labels if there are any."""
    arrays = {
        space[0]: found.latent.float().cpu().numpy(), "distance": found.distance.float().cpu().numpy(),
        "mse": errors.float().cpu().numpy(), "name": np.array(names),
    }  # fmt: skip
    if label is not None:
        arrays["label"] = label.cpu().numpy()
    with replacing(file) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]


def _write_facts(
    file: Path, cfg: Any, saved: checkpoint.Checkpoint, settings: Settings, names: list[str], found: Inverted,
    errors: Tensor,
) -> None:  # fmt: skip
    """Write the request, what was minimised, and the errors of each picture."""
    rows = zip(names, found.curve[0].tolist(), found.distance.tolist(), errors.tolist())
    facts = {
        "checkpoint": str(saved.path), "images_seen": saved.images, "ema": cfg.ema, **settings._asdict(),
        "distance": likeness.NAME, "mse": "mean squared difference of pixels in [-1, 1]",
        "images": [
            {"name": name, "distance_at_first": first, "distance": distance, "mse": error}
            for name, first, distance, error in rows
        ],
    }  # fmt: skip
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
