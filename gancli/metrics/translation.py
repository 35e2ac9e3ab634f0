"""How good translations are: per way FID, what comes back, whose labels they keep, and the distance to true ones."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import l1_loss

from gancli import config
from gancli.console import watched
from gancli.data.reading import verdict
from gancli.data.source import Images, Source
from gancli.data.spec import quantise
from gancli.files import sha256_file
from gancli.metrics import scorecard
from gancli.metrics.classifier import Classifier
from gancli.metrics.features import Features
from gancli.metrics.scorer import Scorer
from gancli.models.directions import Direction, directions, domains, translations
from gancli.models.translation import Cyclic, MultiDomain, Translation
from gancli.training import checkpoint
from gancli.training.runtime import Runtime
from gancli.training.tracker import write_scalars

log = logging.getLogger("gancli")
# Of the values below, whether higher is better.
BETTER = {
    "cycle_l1": False, "identity_l1": False, "true_l1": False, "labels_kept": True, "domain_right": True,
    **{f"{fact}_right": True for fact in ("colour", "shape", "place", "all")},
}  # fmt: skip


class Judge:
    """The scorers of all ways of a model on a split.

    Values of a way, besides those of ``metrics``, where they have a meaning:

    - ``cycle_l1``, ``identity_l1``: mean distance of pictures, in [-1, 1], to what comes back from the other domain,
      and of the target domain's pictures to what the generator makes of them;
    - ``labels_kept``: share of translations in which a classifier of the target domain sees the source's label (of
      several domains ``domain_right``: the domain that was asked for);
    - ``true_l1``: mean distance to the true translation, and of ``data=shapes`` the shares ``colour_right``,
      ``shape_right``, ``place_right`` (within 2 pixels) and ``all_right``; of several domains the details
      have them for each source domain by itself.

    Args:
        metrics: names of metrics.
        model: says which ways there are.
        source: the data.
        split: of the pictures that are translated and compared with.
        features: makes an extractor, one per domain.
        n: most pictures to translate per way; None: all.
        batch_size: of a translation; where batch norm takes its statistics from the batch, part of the result.
        device: where sums are kept.
        floor: score real pictures against real ones, too.
        watch: shows progress.

    Raises:
        UsageError: other data than the model's, or features without weights or labels.
    """

    def __init__(
        self,
        metrics: list[str],
        model: Translation,
        source: Source,
        split: str,
        features: Callable[[], Features],
        *,
        n: int | None = None,
        batch_size: int,
        device: torch.device,
        floor: bool = False,
        watch: Callable[[str, int, int], None] = lambda what, done, total: None,
    ) -> None:
        self.n, self.batch_size, self.device = n, batch_size, device
        self.ways = directions(model, source.split(split))
        self.several = isinstance(model, MultiDomain)
        train = source.split("train")
        of = {"a2b": train, "b2a": train.source} if not self.several else {}
        prepared: dict[int, tuple[Features, Features | None]] = {}
        self.scorers, self.classifiers = {}, {}
        for way in self.ways:
            learnt = _alone(of.get(way.name, train))
            if id(learnt.pixels) not in prepared:
                prepared[id(learnt.pixels)] = self._prepared(features, learnt)
            extractor, self.classifiers[way.name] = prepared[id(learnt.pixels)]
            self.scorers[way.name] = Scorer(
                metrics, way.target, extractor, n=self.count(way), batch_size=batch_size, device=device,
                splits=lambda name, learnt=learnt: learnt, floor=floor, watch=watch,
            )  # fmt: skip

    def count(self, way: Direction) -> int:
        """Return how many pictures of a way are translated."""
        return min(self.n or len(way), len(way))

    def _prepared(self, features: Callable[[], Features], train: Images) -> tuple[Features, Features | None]:
        extractor = features()
        extractor.prepare(lambda: train, self.device)
        if train.labels is None or train.spec.num_classes < 2:
            return extractor, None
        if isinstance(extractor, Classifier):
            return extractor, extractor
        classifier = Classifier()
        classifier.prepare(lambda: train, self.device)
        return extractor, classifier

    def score(self, model: Translation, way: Direction, *, seed: int) -> tuple[dict[str, float], dict[str, Any]]:
        """Return the values of one way, and its details as plain JSON types."""
        made: list[np.ndarray] = []
        backs: list[Tensor] = []

        def stream() -> Iterator[tuple[Tensor, Tensor | None]]:
            for rows, source, found in translations(model, way, self.count(way), seed=seed, batch_size=self.batch_size):
                pixels = quantise(found)
                made.append(pixels.cpu().numpy())
                if (back := self._back(model, way, rows, found)) is not None:
                    backs.append(l1_loss(back, source) * len(source))
                yield pixels, self._labels(way, rows)

        scores = self.scorers[way.name].score(stream())
        pixels = np.concatenate(made)
        values, details = dict(scores.values), dict(scores.details)
        if backs:
            values["cycle_l1"] = sum(backs).item() / len(pixels)
        if way.source.spec.channels == way.target.spec.channels:
            values["identity_l1"] = self._identity(model, way, seed)
        if way.truth is not None:
            values["true_l1"] = float(np.abs(pixels.astype(float) - way.truth[: len(pixels)]).mean() / 127.5)
        if way.factors is not None:
            right = verdict(pixels, way.factors[: len(pixels)])
            values |= {f"{key}_right": share for key, share in right.items()}
            if self.several:
                details["right_by_source"] = by_source(way, pixels)
        kept, table = self._kept(way, pixels)
        return values | kept, details | table

    @torch.no_grad()
    def _back(self, model: Translation, way: Direction, rows: slice, found: Tensor) -> Tensor | None:
        """Return what comes back from the other domain."""
        if isinstance(model, Cyclic):
            return model.translate(found, next(each for each in model.directions if each != way.direction))
        if isinstance(model, MultiDomain):
            return model.move(found, torch.from_numpy(way.source.labels[rows]).to(found.device))
        return None

    def _identity(self, model: Translation, way: Direction, seed: int) -> float:
        own = replace(way, source=way.target)
        n = self.count(own)
        found = translations(model, own, n, seed=seed, batch_size=self.batch_size)
        return sum(l1_loss(image, moved) * len(image) for _, image, moved in found).item() / n

    def _wanted(self, way: Direction) -> np.ndarray | None:
        """Return the classes that a classifier of the target domain should see, (N,), if there are any."""
        if self.several:
            return np.full(len(way), int(way.direction))
        same = way.source.labels is not None and way.source.class_names == way.target.class_names
        return way.source.labels if same else None

    def _labels(self, way: Direction, rows: slice) -> Tensor | None:
        wanted = self._wanted(way)
        return None if wanted is None else torch.from_numpy(np.ascontiguousarray(wanted[rows]))

    def _kept(self, way: Direction, pixels: np.ndarray) -> tuple[dict[str, float], dict[str, Any]]:
        """Return the share of translations that are classified as they should be, and how, class by class."""
        wanted, classifier = self._wanted(way), self.classifiers[way.name]
        if wanted is None or classifier is None:
            return {}, {}
        batches = torch.from_numpy(pixels).split(500)
        seen = torch.cat([classifier(batch)[1].argmax(1).cpu() for batch in batches]).numpy()
        wanted = wanted[: len(pixels)]
        classes = way.target.spec.num_classes
        table = np.zeros((classes, classes), int)
        np.add.at(table, (wanted, seen), 1)
        name = "domain_right" if self.several else "labels_kept"
        shares = {
            label: round(table[i, i] / max(table[i].sum(), 1), 4)
            for i, label in enumerate(way.target.class_names)
            if table[i].sum()
        }
        facts = {"shares": shares, "rows_wanted_columns_seen": table.tolist(), "classifier": classifier.protocol()}
        return {name: float((seen == wanted).mean())}, {name: facts}

    def protocol(
        self, way: Direction, *, ema: bool, seed: int, repeats: int, checkpoint_sha256: str | None
    ) -> dict[str, Any]:
        """Return all that the values of a way depend on; of a model that still trains there is no checkpoint."""
        subject = {
            "way": way.name, "translated": f"{way.source.name} {way.source.split}", "sources": way.source.fingerprint,
            "ema": ema, "seed": seed, "repeats": repeats, "checkpoint_sha256": checkpoint_sha256,
        }  # fmt: skip
        scorer = self.scorers[way.name]
        return scorecard.protocol(scorer, way.target, subject, batch_size=self.batch_size, device=self.device)


def means(each: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the values of all ways, ``<way>/<value>``, and under each value's own name the mean of the ways."""
    shared = set.intersection(*(set(values) for values in each.values()))
    every = {f"{name}/{key}": value for name, values in each.items() for key, value in values.items()}
    return {key: fmean(values[key] for values in each.values()) for key in sorted(shared)} | every


def by_source(way: Direction, pixels: np.ndarray) -> dict[str, dict[str, float]]:
    """Return what is right in the translations of each domain's pictures, by the domain's name."""
    found, labels = {}, way.source.labels[: len(pixels)]
    for label, name in enumerate(way.source.class_names):
        if (here := labels == label).any():
            right = verdict(pixels[here], way.factors[: len(pixels)][here])
            found[name] = {key: round(share, 4) for key, share in right.items()}
    return found


def _alone(images: Images) -> Images:
    return domains(images)[1] if images.source is not None else images


def evaluate(cfg: Any, saved: checkpoint.Checkpoint, source: Source, node: Any, runtime: Runtime) -> dict[str, float]:
    """Score a checkpoint's translations, or those of all of its run, and write a JSON for each way.

    Args:
        cfg: the resolved config of ``conf/eval.yaml``.
        saved: the checkpoint.
        source: its data.
        node: the config of the features.
        runtime: the machine.

    Returns:
        The values of the last checkpoint, ``<way>/<value>``.
    """
    run, began, judge, values = checkpoint.run_dir(saved.path), time.monotonic(), None, {}
    cfg.batch_size = cfg.batch_size or saved.config.batch_size  # which the batch norm of pix2pix sees
    rows: dict[str, list[tuple[int, dict[str, float]]]] = {}
    with watched() as watch:
        for path in checkpoint.numbered(run) if cfg.which == "all" else [saved.path]:
            each = saved if path == saved.path else checkpoint.load(path)
            model = checkpoint.rebuild(each, ema=cfg.ema, device=runtime.device, trust=cfg.trust)
            judge = judge or Judge(
                cfg.metrics, model, source, cfg.split, lambda: config.instantiate(node, Features, trust=cfg.trust),
                n=cfg.n, batch_size=cfg.batch_size, device=runtime.device, floor=cfg.floor, watch=watch,
            )  # fmt: skip
            for way in judge.ways:
                found, facts = _card(cfg, judge, model, way, each, run, began)
                rows.setdefault(way.name, []).append((each.images, found))
                values |= {f"{way.name}/{key}": value for key, value in found.items()}
                last = facts
    if cfg.which == "all":
        for name, curve in rows.items():
            log.info("-> %s", scorecard.write_curve(run / "eval" / name, curve, last))
    return values


def _card(
    cfg: Any, judge: Judge, model: Translation, way: Direction, saved: checkpoint.Checkpoint, run: Path, began: float
) -> tuple[dict[str, float], dict[str, Any]]:
    """Score one way by every seed, write and show its card, and return its values and protocol."""
    scores = [judge.score(model, way, seed=cfg.seed + i) for i in range(cfg.repeats)]
    values, spread = scorecard.folded([found for found, _ in scores])
    checksum = sha256_file(saved.path)
    facts = judge.protocol(way, ema=cfg.ema, seed=cfg.seed, repeats=cfg.repeats, checkpoint_sha256=checksum)
    half, floor = judge.scorers[way.name].floor()
    result = {
        "values": values, "spread": spread, "floor": {"images": half, "values": floor} if floor else {},
        "details": scores[0][1], "checkpoint": str(saved.path.resolve()), "images_seen": saved.images,
    }  # fmt: skip
    file = scorecard.write(
        run / "eval", f"{saved.images:012d}-{way.name}", facts, result, seconds=time.monotonic() - began
    )
    if saved.path.parent.name == checkpoint.FOLDER:  # a lone file's folder is no run
        tag = f"eval/{way.target.split}-{facts['features']['name']}-{way.name}"
        write_scalars(run, {f"{tag}-{key}": value for key, value in values.items()}, saved.images)
    print(f"{way.name}: {way.source.name} -> {way.target.name}")
    scorecard.show(result, facts, file)
    return values, facts
