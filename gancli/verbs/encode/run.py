"""Latents or codes of pictures, by the encoder of a latent-variable model, in a file for those who cluster and plot.

gancli encode ckpt=latest images=faces/ out=latents.npz
gancli encode ckpt=latest split=train
"""

import logging
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from gancli.console import setup_logging, watched
from gancli.data.spec import ImageSpec
from gancli.errors import UsageError, counted
from gancli.files import output_folder, replacing, short
from gancli.models import encoding
from gancli.models.encoding import Encoded, EncodedCodes, encodable, takes_class
from gancli.models.sampling import class_labels as check_class
from gancli.training import checkpoint
from gancli.training.runtime import Runtime
from gancli.views import choice
from gancli.views.base import RunData
from gancli.views.chosen import Chosen, class_labels, from_folder, numbered

log = logging.getLogger("gancli")


def encode(cfg: Any) -> dict[str, float]:
    """Write the posteriors of the pictures that ``cfg.images`` or ``cfg.split`` names into the file ``cfg.out``.

    It has ``mean`` and ``std``, (N, d) float32, and ``name``, (N,). If the pictures have classes, of the data or by the
    folders that they lie in, there are ``label``, (N,) int64, and ``classes``, the names of the classes by number.
    Of a model with a map of codes it has ``codes``, (N, h, w) int32; ``vectors``, (K, D) float32, those of all codes by
    number; and, for codes made of levels, ``levels``, (N, D, h, w) int32. With two maps, these are ``codes_top``,
    ``codes_bottom`` and so on.

    Returns:
        The number of images and of latents, and the means over the images of |mean|^2 / d and std^2, whose sum is 1 on
        average where the codes of the data are distributed like the prior; or the number of codes of an image, of
        different ones in all images, and their perplexity, of each map.

    Raises:
        UsageError: no such checkpoint, pictures or class, a model that encodes nothing, a picture of another size, or
            a file that exists.
    """
    setup_logging()
    runtime = Runtime.from_config(cfg.runtime)
    saved = checkpoint.load(cfg.ckpt)
    model = encodable(checkpoint.rebuild(saved, ema=cfg.ema, device=runtime.device, trust=cfg.trust))
    out = output_folder(cfg.out, checkpoint.run_dir(saved.path), f"encodings/{_name(cfg, saved.images)}.npz")
    if out.exists():
        raise UsageError(f"{out} exists, and nothing is overwritten; choose another file with out=...")
    data = choice.run_data(saved.config.data, saved.classes, saved.images, trust=cfg.trust)
    check_class(model, 1, data.class_number(cfg.label))
    chosen, classes = _chosen(cfg, data, model.spec, of_classes=takes_class(model))
    label = class_labels(model, data, chosen, cfg.label)
    pixels = torch.from_numpy(np.ascontiguousarray(chosen.pixels))
    with watched() as watch:
        found = encoding.encode(model, pixels, label, batch_size=cfg.batch_size, watch=watch)
    arrays, told = _arrays(found) if isinstance(found, Encoded) else _arrays_of_codes(found)
    arrays["name"] = np.array(chosen.names)
    if label is not None:
        arrays["label"] = label.cpu().numpy()
    elif chosen.labels is not None:
        arrays["label"] = chosen.labels
    if "label" in arrays:
        arrays["classes"] = np.array(list(classes), dtype=np.str_)
    _write(out, arrays)
    what = ", ".join(f"{value:.4g} {name}" for name, value in told.items())
    log.info("%s (%s), by %s -> %s", counted(len(pixels), "picture"), what.replace("_", " "), saved.path, out)
    return {"images": len(pixels), **told}


def _arrays(found: Encoded) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Return what the file has of normal posteriors, and numbers about them."""
    told = {
        "latents": found.mean.shape[1], "mean_squared": found.mean.square().mean().item(),
        "variance": found.std.square().mean().item(),
    }  # fmt: skip
    return {"mean": found.mean.float().numpy(), "std": found.std.float().numpy()}, told


def _arrays_of_codes(found: EncodedCodes) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Return what the file has of maps of codes, and numbers about them."""
    arrays: dict[str, np.ndarray] = {}
    told: dict[str, float] = {}
    for name, codes in found.codes.items():
        level = f"_{name}" if name else ""
        arrays[f"codes{level}"] = codes.int().numpy()
        if name in found.digits:
            arrays[f"levels{level}"] = found.digits[name].int().numpy()
        if name in found.vectors:
            arrays[f"vectors{level}"] = found.vectors[name].float().numpy()
        share = np.unique(codes.numpy(), return_counts=True)[1] / codes.numel()
        told[f"codes{level}"] = codes[0].numel()
        told[f"codes_used{level}"] = len(share)
        told[f"perplexity{level}"] = float(np.exp(-(share * np.log(share)).sum()))
    return arrays, told


def _chosen(cfg: Any, data: RunData, spec: ImageSpec, *, of_classes: bool) -> tuple[Chosen, Sequence[str]]:
    """Return the pictures with their labels, and the names of the classes, none if they have numbers alone.

    ``of_classes``: labels go into the encoder, so that only those of the data's classes are any good.
    """
    if cfg.images is None:
        return numbered(data, cfg.split, range(len(data.split(cfg.split)))), data.classes
    chosen = from_folder(cfg.images, spec)
    labels, classes = of_folders(chosen.names, data.classes)
    if labels is None or (of_classes and classes != data.classes):  # its classes are others than these
        return chosen, data.classes
    return chosen._replace(labels=labels), classes


def of_folders(names: Sequence[str], classes: Sequence[str]) -> tuple[np.ndarray | None, Sequence[str]]:
    """Return the class of each picture, (N,) int64, and the names of the classes, by the first folder in its name.

    Args:
        names: of the pictures, with their folders.
        classes: those that are known. If all folders are called like one of them, numbers are theirs, else those of
            the folders in order.

    Returns:
        No labels if a picture lies in no folder.
    """
    folders = [PurePosixPath(name).parts[0] for name in names if len(PurePosixPath(name).parts) > 1]
    if len(folders) < len(names):
        return None, classes
    known = classes if {*folders} <= {*classes} else sorted({*folders})
    number = {name: i for i, name in enumerate(known)}
    return np.array([number[each] for each in folders], dtype=np.int64), known


def _name(cfg: Any, images: int) -> str:
    """Return a file name that describes the request."""
    what = cfg.split if cfg.images is None else short(Path(cfg.images).expanduser().resolve().stem)
    label = "" if cfg.label is None else f"-label{short(str(cfg.label))}"
    return f"{images:012d}-{what}{label}" + ("" if cfg.ema else "-raw")


def _write(file: Path, arrays: dict[str, np.ndarray]) -> None:
    with replacing(file) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]
