"""Scores of a checkpoint: FID and Inception Score, with everything needed to read and repeat them.

gancli eval ckpt=outputs/mnist-dcgan/...
"""

import json
import logging
import platform
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from gancli import __version__, checkpoint, config
from gancli.checkpoint import Checkpoint
from gancli.console import console, setup_logging
from gancli.data.source import Images
from gancli.errors import UsageError, did_you_mean
from gancli.files import cache_dir, digest, replacing, sha256_file
from gancli.metrics import moments
from gancli.metrics.features import Features
from gancli.metrics.fid import fid
from gancli.metrics.inception_score import SPLITS, InceptionScore
from gancli.models.base import Model
from gancli.runtime import Runtime
from gancli.sample import draw
from gancli.tracker import write_scalars

log = logging.getLogger("gancli")

METRICS = ("fid", "is")
MOST = 50_000  # images drawn unless n says otherwise: the papers' number
REFERENCE_VERSION = 1  # of the cached reference statistics

Watch = Callable[[str, int, int], None]  # what, done, total


def evaluate(cfg: Any) -> dict[str, float]:
    """Score ``cfg.ckpt`` and write ``eval/<images>-<features>.json`` into its run folder.

    Args:
        cfg: the resolved config of ``conf/eval.yaml``; ``data`` and ``features`` are the checkpoint's own where null.

    Returns:
        ``fid``; ``is`` and ``is_std``, mean and standard deviation over 10 splits.

    Raises:
        UsageError: no such checkpoint, data of another size, no weights; all of it before the first image is drawn.
    """
    setup_logging()
    began = time.monotonic()
    check_metrics(cfg.metrics, cfg.n)
    runtime = Runtime.from_config(cfg.runtime)
    saved = checkpoint.load(cfg.ckpt)
    source, _ = config.build_data(cfg.data or saved.config.data, trust=cfg.trust)
    features = config.instantiate(cfg.features or saved.config.features, Features, trust=cfg.trust)
    reference = source.split(cfg.split)
    _check_size(reference, saved)
    n = cfg.n or min(MOST, len(reference))
    check_metrics(cfg.metrics, n)
    model = checkpoint.rebuild(saved, ema=cfg.ema, device=runtime.device, trust=cfg.trust)
    features.prepare(lambda: source.split("train"), runtime.device)
    with _watched() as watch:
        values = score(
            model, reference, features, n=n, seed=cfg.seed, batch_size=cfg.batch_size, device=runtime.device,
            metrics=cfg.metrics, watch=watch,
        )  # fmt: skip
    facts = protocol(cfg, saved, reference, features, n=n, device=runtime.device)
    file = write(checkpoint.run_dir(saved.path) / "eval", saved, values, facts, seconds=time.monotonic() - began)
    if saved.path.parent.name == checkpoint.FOLDER:  # a lone file's folder is no run
        tag = f"eval/{reference.split}-{features.name}"
        write_scalars(file.parent.parent, {f"{tag}-{key}": value for key, value in values.items()}, saved.images)
    _show(values, facts, file)
    return values


@torch.no_grad()
def score(
    model: Model,
    reference: Images,
    features: Features,  # prepared
    *,
    n: int | None = None,  # images to draw; None: 50,000, or as many as the reference has if it has fewer
    seed: int = 0,  # of the latents
    batch_size: int = 64,
    device: torch.device,  # of the sums
    metrics: Sequence[str] = METRICS,
    watch: Watch = lambda what, done, total: None,
) -> dict[str, float]:
    """Draw n images once and score them by every metric; memory does not grow with n, no file is written but caches.

    Returns:
        ``fid`` and, for ``is``, ``is`` and ``is_std``.

    Raises:
        UsageError: unknown metrics, or too few images.
    """
    n = n or min(MOST, len(reference))
    check_metrics(metrics, n)
    inception_score = InceptionScore(n, features.classes, device) if "is" in metrics else None
    drawn = moments.Moments(features.dim, device) if "fid" in metrics else None
    real = reference_statistics(reference, features, batch_size, device, watch) if drawn else None
    done = 0
    for images in draw(model, n, seed=seed, batch_size=batch_size):
        x, logits = features(images)
        if drawn:
            drawn.update(x)
        if inception_score:
            inception_score.update(logits)
        done += len(images)
        watch("generated images", done, n)
    values: dict[str, float] = {}
    if drawn and real:
        _warn_few(min(n, real.n), features.dim)
        values["fid"] = fid(drawn.gaussian(), real)
    if inception_score:
        values["is"], values["is_std"] = inception_score.result()
    return values


def check_metrics(metrics: Sequence[str], n: int | None) -> None:
    """Refuse unknown metrics, and too few images for one of them; n None is not looked at. Raises UsageError."""
    for name in metrics:
        if name not in METRICS:
            raise UsageError(
                f"metrics: no metric {name!r}{did_you_mean(name, METRICS)} (there are: {', '.join(METRICS)})"
            )
    if not metrics:
        raise UsageError(f"metrics is empty: name one or more of {', '.join(METRICS)}")
    least = SPLITS if "is" in metrics else 2
    if n is not None and n < least:
        raise UsageError(f"n={n} images are too few for metrics=[{','.join(metrics)}]: n={least} or more")


def reference_statistics(
    reference: Images, features: Features, batch_size: int, device: torch.device, watch: Watch
) -> moments.Gaussian:
    """Return mean and covariance of the reference's features, from the cache when the same images were seen before."""
    if len(reference) < 2:
        raise UsageError(f"FID needs 2 reference images or more, and the {reference.split} split has {len(reference)}")
    facts = {
        "version": REFERENCE_VERSION, "data": reference.fingerprint, "split": reference.split, "n": len(reference),
        "shape": list(reference.spec.shape), "features": features.protocol(), "batch_size": batch_size,
        "device": device.type,
    }  # fmt: skip
    path = cache_dir() / "moments" / f"{digest(facts)[:32]}.npz"
    if path.exists():
        try:
            return moments.load(path)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            log.warning("the cached statistics %s are damaged (%s): computing them again", path, error)
    sums = moments.Moments(features.dim, device)
    for start in range(0, len(reference), batch_size):
        sums.update(features(torch.from_numpy(reference.pixels[start : start + batch_size]))[0])
        watch("reference images", sums.n, len(reference))
    found = sums.gaussian()
    try:
        moments.save(path, found)
    except OSError as error:
        log.warning("the reference statistics could not be cached in %s: %s", path, error)
    return found


def protocol(
    cfg: Any, saved: Checkpoint, reference: Images, features: Features, *, n: int, device: torch.device
) -> dict[str, Any]:
    """Return all that the values depend on; two results of one protocol are the same result."""
    libraries = ("torch", "torchvision", "numpy", "pytorch-fid")
    return {
        "metrics": sorted(set(cfg.metrics)),
        "images_generated": n,
        "images_reference": len(reference),
        "dataset": reference.name,
        "split": reference.split,
        "fingerprint": reference.fingerprint,
        "resolution": list(reference.spec.shape),
        "features": features.protocol(),
        "is_splits": SPLITS,
        "ema": cfg.ema,
        "seed": cfg.seed,
        "batch_size": cfg.batch_size,
        "precision": "float32",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "checkpoint_sha256": sha256_file(saved.path),
        "versions": {
            "gancli": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in libraries},
        },
    }


def write(folder: Path, saved: Checkpoint, values: dict[str, float], facts: dict[str, Any], *, seconds: float) -> Path:
    """Write one result, whole or not at all, and return its file; one of another protocol is never written over."""
    result = {
        "values": values,
        "protocol": facts,
        "checkpoint": str(saved.path.resolve()),
        "images_seen": saved.images,
        "seconds": round(seconds, 1),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    file = folder / f"{saved.images:012d}-{facts['features']['name']}.json"
    if file.exists() and _protocol_of(file) != facts:
        file = file.with_stem(f"{file.stem}-{digest(facts)[:8]}")
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return file


def _protocol_of(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))["protocol"]
    except (ValueError, KeyError, TypeError):  # not ours: it is kept
        return None


def _check_size(reference: Images, saved: Checkpoint) -> None:
    if reference.spec.shape != saved.spec.shape:
        have, want = ("x".join(map(str, spec.shape)) for spec in (reference.spec, saved.spec))
        channels, height, width = saved.spec.shape
        fitting = f", such as data.size={height} data.channels={channels}" if height == width else ""
        raise UsageError(
            f"{reference.name} has images of {have} and {saved.path} draws {want}: choose data of that size{fitting}"
        )


@cache  # once per process: training scores many times
def _warn_few(n: int, dim: int) -> None:
    if n < 10 * dim or (dim == 2048 and n < 10_000):
        singular = "its covariance is singular and " if n <= dim else ""
        log.warning(
            "FID of %s images: %sit is biased upwards; compare it only with FIDs of as many images", f"{n:,}", singular
        )


@contextmanager
def _watched() -> Iterator[Watch]:
    """Show how far it is: a bar on a terminal, a line every ten seconds elsewhere."""
    if console.is_terminal:
        with Progress(console=console) as bar:
            tasks: dict[str, Any] = {}

            def show(what: str, done: int, total: int) -> None:
                task = tasks[what] = tasks[what] if what in tasks else bar.add_task(what, total=total)
                bar.update(task, completed=done)

            yield show
        return
    last = time.monotonic()

    def say(what: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > 10:
            last = time.monotonic()
            log.info("%s: %s of %s", what, f"{done:,}", f"{total:,}")

    yield say


def _show(values: dict[str, float], facts: dict[str, Any], file: Path) -> None:
    table = Table("score", "value")
    if "fid" in values:
        table.add_row("FID", f"{values['fid']:.4f}")
    if "is" in values:
        table.add_row("IS", f"{values['is']:.4f} +- {values['is_std']:.4f}")
    Console().print(table)
    print(
        f"{facts['images_generated']:,} images against {facts['images_reference']:,} of {facts['dataset']} "
        f"{facts['split']}, features {facts['features']['name']}"
    )
    log.info("-> %s", file)
