"""Scores of a checkpoint, of all checkpoints of a run, or of any images, recorded so that they can be repeated.

gancli eval ckpt=outputs/mnist-dcgan/...
gancli eval images=pictures.zip data=mnist
"""

import logging
import os
from collections.abc import Iterator, Mapping
from itertools import chain, product
from pathlib import Path
from typing import Any

from gancli import config
from gancli.console import setup_logging, watched
from gancli.data.untrusted import Unreadable
from gancli.errors import UsageError
from gancli.files import inside, sha256_file, short
from gancli.folders import outputs
from gancli.metrics import moments, scorecard
from gancli.metrics.features import Features
from gancli.metrics.registry import check_metrics, metrics_named
from gancli.metrics.scorer import Watch
from gancli.metrics.scoring import evaluation
from gancli.metrics.scoring.base import BATCH, Scoring, Settings, Subject, scoring_of, together
from gancli.metrics.scoring.evaluation import Origin, Result, weights
from gancli.metrics.scoring.pictures import Pictures
from gancli.models.base import Model
from gancli.training import checkpoint, ranks
from gancli.training.checkpoint import Checkpoint
from gancli.training.runtime import Runtime
from gancli.training.tracker import write_scalars
from gancli.verbs.evaluate import samplings
from gancli.verbs.evaluate.samplings import Sampling

log = logging.getLogger("gancli")


def evaluate(cfg: Any) -> dict[str, float]:
    """Score what ``cfg.ckpt`` or ``cfg.images`` names and write a card for each subject into ``eval/``.

    Args:
        cfg: the resolved config of ``conf/eval.yaml``; ``data`` and ``features`` default to the checkpoint's own.

    Returns:
        The values of ``cfg.metrics``, means over ``cfg.repeats`` seeds; with which=all, those of the last checkpoint;
        with a list in ``cfg.sampling``, those of each of its values, ``truncation=0.5/fid``. For several subjects see
        scoring.base.together().

    Raises:
        UsageError: no such checkpoint, data of another size, or missing weights, before the first image is drawn.
    """
    setup_logging()
    check_metrics(metrics_named(cfg.metrics, cfg.trust), cfg.n)
    runtime = Runtime.from_config(cfg.runtime)
    known = _known(cfg.reference) if cfg.reference else None
    saved = checkpoint.load(cfg.ckpt) if cfg.ckpt else None
    runtime = runtime.as_trained(saved.config.runtime) if saved else runtime
    origins = _checkpoints(cfg, saved, runtime) if saved else _pictures(cfg)
    crew = ranks.crew()
    ways = samplings.each(cfg.sampling, saved.config.model) if saved else [Sampling({})]
    first = next(origins)
    with watched() as watch:
        with ranks.first_goes_first():  # it decodes data and trains classifiers that are not there yet
            scoring = _scoring(cfg, saved, first.model, known, runtime, watch)
        if len(scoring.subjects) > 1 and (cfg.reference or cfg.save_reference):
            raise UsageError(
                f"reference= and save_reference= need a single set of real images, but {scoring.what} is scored on "
                "several; omit them"
            )
        if cfg.save_reference and not crew.rank:
            moments.save(Path(cfg.save_reference).expanduser(), scoring.subjects[0].scorer.real())
        curves: dict[str, list[tuple[Origin, Sampling, Result]]] = {}
        for origin, sampling in product(chain([first], origins), ways):
            if origin.model is not None and saved:
                scoring.check(origin.model)
                config.set_sampling(origin.model, saved.config.model, sampling.values)
            for subject in scoring.subjects:
                if crew.rank:
                    _assist(cfg, subject, origin)
                    continue
                result = _evaluated(cfg, scoring, subject, origin, sampling)
                curves.setdefault(subject.name, []).append((origin, sampling, result))
    if crew.rank:
        return {}
    option = samplings.listed(cfg.sampling)
    for curve in curves.values() if option or (cfg.which == "all" and saved) else ():
        _write_curve(curve, option)
    return _returned(curves, option)


def _returned(curves: Mapping[str, list[tuple[Origin, Sampling, Result]]], option: str | None) -> dict[str, float]:
    """Return the values of the last checkpoint, or, if an option of sampling is a list, those of each of its values."""
    if option is None:
        return together({name: curve[-1][2].values for name, curve in curves.items()})
    found: dict[str, float] = {}
    for name, curve in curves.items():
        for _, sampling, result in curve:
            at = "null" if sampling.at is None else sampling.at
            beginning = "/".join(filter(None, (f"{option}={at}", name)))
            found |= {f"{beginning}/{key}": value for key, value in result.values.items()}
    return found


def _scoring(
    cfg: Any, saved: Checkpoint | None, model: Model | None, known: moments.Gaussian | None, runtime: Runtime,
    watch: Watch,
) -> Scoring:  # fmt: skip
    """Return the scoring of the model or images, ready to use."""
    own: Any = saved.config if saved else {"data": None, "features": config.options("features")["inception"]}
    source, _ = config.build_data(cfg.data or own["data"], trust=cfg.trust)
    node = cfg.features or own["features"]
    kind = Pictures if model is None else scoring_of(type(model))
    batch_size = cfg.batch_size or kind.batch_of(model, saved.config.batch_size if saved else BATCH)
    settings = Settings(
        metrics_named(cfg.metrics, cfg.trust), source, cfg.split,
        lambda: config.instantiate(node, Features, trust=cfg.trust),
        batch_size=batch_size, device=runtime.device, n=cfg.n, floor=cfg.floor, known=known, watch=watch,
        precision=runtime.dtype, autocast=runtime.autocast, crew=ranks.crew(),
    )  # fmt: skip
    return kind(model, settings, cfg.images or f"the {type(model).__name__} of {cfg.ckpt}")


def _evaluated(cfg: Any, scoring: Scoring, subject: Subject, origin: Origin, sampling: Sampling) -> Result:
    """Score a subject, show its score card, and add its values to the TensorBoard log of the run.

    A checkpoint that has a card of the same protocol is not scored again unless ``cfg.again`` asks for it.
    """
    origin = sampling.of(origin)
    before = evaluation.known(subject, origin) if origin.model is not None and not cfg.again else None
    ranks.agreed(before is not None)
    if before is not None:
        values = ", ".join(f"{scorecard.named(key)} {value:.4g}" for key, value in before.values.items())
        how = scorecard.drawn(before.protocol)
        log.info("scored already by the same protocol%s: %s (%s); again=true scores it again", how, values, before.file)
        return before
    halves = cfg.bootstrap if cfg.images else 0  # for a checkpoint, repeats= draws new images instead
    result = evaluation.evaluate(scoring, subject, origin, seed=cfg.seed, repeats=cfg.repeats, halves=halves)
    facts = result.protocol
    if origin.run:
        tag = "-".join(filter(None, (facts["split"], facts["features"]["name"], subject.name, sampling.name)))
        write_scalars(origin.run, {f"eval/{tag}-{key}": value for key, value in result.values.items()}, origin.images)
    if subject.title:
        print(subject.title)
    scorecard.show(result._asdict(), facts, result.file)
    return result


def _assist(cfg: Any, subject: Subject, origin: Origin) -> None:
    """Do the part of a process that is not the first, see _evaluated(); it reports nothing."""
    if not ranks.agreed(None):
        evaluation.assist(subject, origin, seed=cfg.seed, repeats=cfg.repeats)


def _write_curve(curve: list[tuple[Origin, Sampling, Result]], option: str | None) -> None:
    """Write the values of all checkpoints, or of all values of an option of sampling, to a CSV file and a figure."""
    from gancli.verbs.evaluate import curves  # imports matplotlib

    origin, _, last = curve[-1]
    rows = [
        scorecard.Point(sampling.at if option else origin.images, result.values, result.spread)
        for origin, sampling, result in curve
    ]
    name, over = (f"{origin.stem}-{option}", option) if option else ("curve", "images")
    file = scorecard.write_curve(origin.folder, rows, last.protocol, name=name, over=over)
    curves.draw(rows, last.floor, last.protocol, file.with_suffix(".png"), over=over)
    log.info("-> %s and .png", file)


def _checkpoints(cfg: Any, saved: Checkpoint, runtime: Runtime) -> Iterator[Origin]:
    """Yield the checkpoints that ``cfg.which`` names, oldest first; each is loaded when it is needed."""
    run = checkpoint.run_dir(saved.path)
    for path in _paths(cfg.which, saved.path, run):
        each = saved if path == saved.path else checkpoint.load(path)
        model = checkpoint.rebuild(each, ema=cfg.ema, device=runtime.device, trust=cfg.trust)
        runtime.place(model)
        yield Origin(
            model,
            weights(seed=cfg.seed, repeats=cfg.repeats, ema=cfg.ema, checkpoint_sha256=sha256_file(each.path)),
            {"checkpoint": str(each.path.resolve()), "images_seen": each.images},
            inside(run, "eval"),
            f"{each.images:012d}",
            each.images,
            run if each.path.parent.name == checkpoint.FOLDER else None,  # the file is not in a run folder
        )


def _paths(which: str, named: Path, run: Path) -> list[Path]:
    """Return the checkpoint that was named, the best one of its run, or all of them. Raises UsageError."""
    if which == "last":
        return [named]
    if named.parent.name != checkpoint.FOLDER:
        raise UsageError(f"which={which}: {named} is not in a run folder; name a run folder with ckpt=...")
    if which == "all":
        return checkpoint.numbered(run)
    best = run / checkpoint.FOLDER / checkpoint.BEST
    if not best.is_file():
        raise UsageError(f"which=best: {run} has no {checkpoint.BEST}; training keeps one with eval.every=...")
    return [best]


def _pictures(cfg: Any) -> Iterator[Origin]:
    """Yield the images that ``cfg.images`` names."""
    path = Path(os.path.expanduser(cfg.images)).resolve()
    name = short(path.stem)
    yield Origin(None, {}, {"images": str(path)}, outputs() / "images" / name, name)


def _known(path: str) -> moments.Gaussian:
    try:
        return moments.load(Path(path))
    except Unreadable as error:
        raise UsageError(
            f"reference={path} cannot be read ({error}); name an npz with mu and sigma, as save_reference= writes it"
        ) from None
