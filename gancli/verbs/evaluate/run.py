"""Scores of a checkpoint, of all checkpoints of a run, or of any pictures, with all that is needed to repeat them.

gancli eval ckpt=outputs/mnist-dcgan/...
gancli eval images=pictures.zip data=mnist
"""

import logging
import os
import time
import zipfile
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import torch

from gancli import config
from gancli.console import setup_logging, watched
from gancli.data import pictures
from gancli.data.source import Images
from gancli.errors import UsageError
from gancli.files import sha256_file
from gancli.metrics import moments, scorecard, translation
from gancli.metrics.base import Likelihood
from gancli.metrics.features import Features, Pixels
from gancli.metrics.held_out import likelihood_of
from gancli.metrics.registry import check_features, check_metrics, use_features
from gancli.metrics.scorer import MOST, Scorer, Stream
from gancli.models.base import Model
from gancli.models.sampling import draw, labels_like
from gancli.models.translation import Translation
from gancli.training import checkpoint
from gancli.training.runtime import Runtime
from gancli.training.tracker import write_scalars

log = logging.getLogger("gancli")
BATCH_SIZE = 64  # unless it is typed


class Subject(NamedTuple):
    """What is scored."""

    stream: Callable[[int, int], Stream]  # of n images and a seed
    facts: dict[str, Any]  # for the protocol
    origin: dict[str, Any]  # for the reader of the JSON
    folder: Path  # of the result
    stem: str  # of its file
    run: Path | None = None  # the run folder whose TensorBoard log gets the values
    images: int = 0  # seen in training
    likelihood: Likelihood | None = None  # that the model knows
    labelled: bool = False  # whether the stream says of what class each image shall be


def evaluate(cfg: Any) -> dict[str, float]:
    """Score what ``cfg.ckpt`` or ``cfg.images`` names and write ``eval/<images>-<features>.json``.

    Args:
        cfg: the resolved config of ``conf/eval.yaml``; ``data`` and ``features`` are the checkpoint's own where null.

    Returns:
        The values of ``cfg.metrics``, means over ``cfg.repeats`` seeds; with which=all those of the last checkpoint.

    Raises:
        UsageError: no such checkpoint, data of another size, no weights; all of it before the first image is drawn.
    """
    setup_logging()
    began = time.monotonic()
    check_metrics(cfg.metrics, cfg.n)
    runtime = Runtime.from_config(cfg.runtime)
    known = _known(cfg.reference) if cfg.reference else None
    saved = checkpoint.load(cfg.ckpt) if cfg.ckpt else None
    source, _ = config.build_data(cfg.data or saved.config.data, trust=cfg.trust)
    if saved and issubclass(config.target_class(saved.config.model, Model, trust=cfg.trust), Translation):
        return translation.evaluate(cfg, saved, source, cfg.features or saved.config.features, runtime)
    cfg.batch_size = cfg.batch_size or BATCH_SIZE
    node = cfg.features or (saved.config.features if saved else config.options("features")["inception"])
    features = config.instantiate(node, Features, trust=cfg.trust) if use_features(cfg.metrics) else Pixels()
    reference = source.split(cfg.split)
    check_features(features, reference)
    given = None if saved else pictures.read(cfg.images, reference)
    n = cfg.n or (min(MOST, len(reference)) if given is None else len(given))
    subjects = _checkpoints(cfg, saved, reference, runtime.device) if saved else _pictures(cfg, given, reference)
    first = next(subjects)
    check_metrics(cfg.metrics, n)
    features.prepare(lambda: source.split("train"), runtime.device)
    with watched() as watch:
        scorer = Scorer(
            cfg.metrics, reference, features, n=n, batch_size=cfg.batch_size, device=runtime.device,
            splits=source.split, floor=cfg.floor, known=known, watch=watch,
        )  # fmt: skip
        if cfg.save_reference:
            moments.save(Path(cfg.save_reference).expanduser(), scorer.real())
        who = cfg.images or f"the {saved.config.model._target_.rpartition('.')[2]} of {cfg.ckpt}"
        scorer.check(first.likelihood, who, labelled=first.labelled)
        size, floor = scorer.floor()
        result = {"floor": {"images": size, "values": floor} if floor else {}}
        rows = []
        for subject in chain([first], subjects):
            values, spread, facts = _score(cfg, subject, scorer, reference, result, began, runtime.device)
            rows.append(scorecard.Point(subject.images, values, spread))
    if cfg.which == "all" and saved:
        file = scorecard.write_curve(checkpoint.run_dir(saved.path) / "eval", rows, facts)
        from gancli.metrics import curves  # imports matplotlib

        curves.draw(rows, result["floor"], facts, file.with_suffix(".png"))
        log.info("-> %s and .png", file)
    return values


def _score(
    cfg: Any, subject: Subject, scorer: Scorer, reference: Images, result: dict[str, Any], began: float,
    device: torch.device,
) -> tuple[dict[str, float], dict[str, dict[str, float]], dict[str, Any]]:  # fmt: skip
    """Score one subject by every seed, write and show its card, and return its values, spread and protocol."""
    halves = cfg.bootstrap if cfg.images and scorer.n >= 4 else 0  # of a checkpoint repeats= draws other images
    scores = [
        scorer.score(subject.stream(scorer.n, cfg.seed + i), subject.likelihood, halves=halves)
        for i in range(cfg.repeats)
    ]
    values, spread = scorecard.folded([each.values for each in scores])
    if halves:
        spread = scorecard.intervals(values, scores[0].deviations)
    facts = scorecard.protocol(scorer, reference, subject.facts, batch_size=cfg.batch_size, device=device)
    card_ = {"values": values, "spread": spread, **result, "details": scores[0].details, **subject.origin}
    file = scorecard.write(subject.folder, subject.stem, facts, card_, seconds=time.monotonic() - began)
    if subject.run:
        tag = f"eval/{reference.split}-{scorer.features.name}"
        write_scalars(subject.run, {f"{tag}-{key}": value for key, value in values.items()}, subject.images)
    scorecard.show(card_, facts, file)
    return values, spread, facts


def _checkpoints(cfg: Any, saved: checkpoint.Checkpoint, reference: Images, device: torch.device) -> Iterator[Subject]:
    """Yield the checkpoint that was named, or all of its run, oldest first; each is loaded when it is due."""
    run = checkpoint.run_dir(saved.path)
    for path in checkpoint.numbered(run) if cfg.which == "all" else [saved.path]:
        each = saved if path == saved.path else checkpoint.load(path)
        _check_size(reference, each.spec.shape, f"{each.path} draws")
        model = checkpoint.rebuild(each, ema=cfg.ema, device=device, trust=cfg.trust)

        def stream(n: int, seed: int, model: Any = model) -> Stream:
            labels = labels_like(model, reference, n, seed=seed)
            return draw(model, n, seed=seed, batch_size=cfg.batch_size, labels=labels)

        labels_like(model, reference, 1, seed=cfg.seed)  # refused now, and not after the reference was looked at
        yield Subject(
            stream,
            scorecard.drawn(
                seed=cfg.seed, repeats=cfg.repeats, ema=cfg.ema, conditional=model.conditional,
                checkpoint_sha256=sha256_file(each.path),
            ),
            {"checkpoint": str(each.path.resolve()), "images_seen": each.images},
            run / "eval",
            f"{each.images:012d}",
            run if each.path.parent.name == checkpoint.FOLDER else None,  # a lone file's folder is no run
            each.images,
            likelihood_of(model),
            model.conditional,
        )  # fmt: skip


def _pictures(cfg: Any, given: Images, reference: Images) -> Iterator[Subject]:
    """Yield the pictures that someone else made."""
    _check_size(reference, given.spec.shape, f"{cfg.images} holds")
    if cfg.n and cfg.n > len(given):
        raise UsageError(f"n={cfg.n}: {cfg.images} holds {len(given)} images; take fewer, or n=null for all")
    labels = pictures.labels_of(given, reference)

    def stream(n: int, seed: int) -> Stream:
        for start in range(0, n, cfg.batch_size):
            rows = slice(start, min(n, start + cfg.batch_size))
            yield torch.from_numpy(given.pixels[rows]), None if labels is None else torch.from_numpy(labels[rows])

    path = Path(cfg.images).expanduser().resolve()
    folder = Path(os.environ.get("GANCLI_OUTPUTS") or "outputs").expanduser() / "images" / path.stem
    facts = {"images": given.fingerprint}
    yield Subject(stream, facts, {"images": str(path)}, folder, path.stem, labelled=labels is not None)


def _known(path: str) -> moments.Gaussian:
    try:
        return moments.load(Path(path).expanduser())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"reference={path} cannot be read ({error}): name an npz with mu and sigma, as save_reference= writes"
        ) from None


def _check_size(reference: Images, shape: tuple[int, int, int], what: str) -> None:
    if reference.spec.shape != shape:
        have, want = ("x".join(map(str, each)) for each in (reference.spec.shape, shape))
        channels, height, width = shape
        fitting = f", such as data.size={height} data.channels={channels}" if height == width else ""
        raise UsageError(f"{reference.name} has images of {have} and {what} {want}: choose data of that size{fitting}")
