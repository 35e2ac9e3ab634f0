"""Sampling from a checkpoint: pictures drawn by a view, and the single images in them.

gancli sample ckpt=outputs/mnist-dcgan/... n=64 out=samples/
gancli sample ckpt=outputs/mnist-cdcgan/... label=3
gancli sample ckpt=outputs/mnist-dcgan/... view=interpolation steps=16
"""

import inspect
import logging
from pathlib import Path
from typing import Any

from gancli import config
from gancli.console import setup_logging
from gancli.errors import counted
from gancli.files import check_empty, output_folder, short
from gancli.training import checkpoint, ranks
from gancli.training.guard import filling
from gancli.training.runtime import Runtime
from gancli.views import choice, pictures
from gancli.views.base import View

log = logging.getLogger("gancli")
USUAL = 64  # images if the user names no number


def sample(cfg: Any) -> dict[str, float]:
    """Write the pictures of ``cfg.view`` into ``cfg.out``.

    Raises:
        UsageError: no such checkpoint, a folder that already holds files, or a view or value that the model lacks.
    """
    setup_logging()
    runtime = Runtime.from_config(cfg.runtime)
    saved = checkpoint.load(cfg.ckpt)
    runtime = runtime.as_trained(saved.config.runtime)
    model = checkpoint.rebuild(saved, ema=cfg.ema, device=runtime.device, trust=cfg.trust)
    runtime.place(model)
    config.set_sampling(model, saved.config.model, cfg.sampling)
    view = choice.build(cfg.view or model.own_views()[0], trust=cfg.trust)
    choice.check_suits(view, model, trust=cfg.trust)
    run = checkpoint.run_dir(saved.path)
    crew = ranks.crew()
    data = choice.run_data(saved.config.data, saved.classes, saved.images, trust=cfg.trust, crew=crew)
    if crew.rank:
        with runtime.autocast():
            view.assist(model, data, n=cfg.n or USUAL, seed=cfg.seed, batch_size=cfg.batch_size)
        return {}
    out = output_folder(cfg.out, run, f"samples/{_name(cfg, saved, view, runtime)}")
    check_empty(out)
    pictures.check_amount(out, *view.amount(cfg.n or USUAL), model.spec, cfg.format)
    if cfg.n is not None:
        view.check_number(cfg.n, data)
    with runtime.autocast():
        drawn = view.draw(model, data, n=cfg.n or USUAL, seed=cfg.seed, batch_size=cfg.batch_size)
    pictures.check_format(drawn, cfg.format)
    pictures.check_names(out, drawn)
    with filling(out) as folder, runtime.autocast():  # most images are drawn as they are written
        count = pictures.write(folder, drawn, cfg.format)
    kind = f" ({model.pixel_values} of the pixels)" if model.pixel_values else ""
    log.info("%s%s of %s at %s images -> %s", counted(count, "image"), kind, saved.path, f"{saved.images:,}", out)
    return {"n": count}


def _name(cfg: Any, saved: checkpoint.Checkpoint, view: View, runtime: Runtime) -> str:
    """Return a folder name that describes the request."""
    usual = inspect.signature(type(view)).parameters
    asked = {key: value for key, value in (cfg.view or {}).items() if key in usual and value != usual[key].default}
    name = f"{saved.images:012d}-{type(view).__name__.lower()}-{cfg.format}-seed{cfg.seed}-n{cfg.n or USUAL}"
    name += ("" if cfg.ema else "-raw") + ("" if runtime.precision == "fp32" else f"-{runtime.precision}")
    asked |= {key: value for key, value in cfg.sampling.items() if value is not None}
    return name + "".join(f"-{key}{_word(value)}" for key, value in asked.items())


def _word(value: Any) -> str:
    """Return a value as part of a file name; a path is reduced to its stem and a list cut to 40 characters."""
    if isinstance(value, str):
        return short(Path(value).expanduser().resolve().stem if "/" in value else value)
    return "-".join(map(str, value))[:40] if hasattr(value, "__iter__") else str(value)
