"""Scores of translations: FID, cycle and identity distances, kept labels, and the distance to the true ones."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import l1_loss

from gancli.data.reading import verdict
from gancli.data.source import Images
from gancli.data.spec import quantise
from gancli.metrics.base import Batch
from gancli.metrics.classifier import Classifier
from gancli.metrics.features import Features
from gancli.metrics.registry import check_metrics
from gancli.metrics.scorer import Scorer, Scores
from gancli.metrics.scoring.base import BATCH, Scoring, Settings, Subject, scores
from gancli.models.directions import Direction, check_images, directions, domains, translations
from gancli.models.held_out import HeldOut
from gancli.models.shares import Share
from gancli.models.translation import Cyclic, MultiDomain, Translation


class Translated(Subject):
    """The translations of one direction.

    Args:
        scorer: holds the metrics and the real images of the target domain.
        settings: settings of the evaluation.
        direction: the source and the target.
        classifier: a classifier of the target domain's labels, if it has any.
        domains: whether the labels are the domains.
    """

    def __init__(
        self, scorer: Scorer, settings: Settings, direction: Direction, classifier: Features | None, domains: bool
    ) -> None:
        source = direction.source
        translated = {"translated": f"{source.name} {source.split}", "sources": source.fingerprint}
        super().__init__(scorer, settings, direction.name, {"direction": direction.name, **translated})
        self.direction, self.classifier, self.domains = direction, classifier, domains
        self.targets = target_labels(direction, domains)

    @property
    def title(self) -> str:
        return f"{self.name}: {self.direction.source.name} -> {self.direction.target.name}"

    shared = True

    def stream(self, model: Translation, seed: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        for rows, _, found in self._translations(model, self.direction, self.scorer.n, seed, self.scorer.share()):
            yield quantise(found), self._labels(rows)

    def score(self, model: Translation, *, seed: int, held_out: HeldOut | None = None, halves: int = 0) -> Scores:
        made: list[np.ndarray] = []
        distances: dict[int, Tensor] = {}  # of sources to their reconstructions, summed over a batch

        def translated() -> Iterator[tuple[Tensor, Tensor | None]]:
            share = self.scorer.share()
            for rows, source, found in self._translations(model, self.direction, self.scorer.n, seed, share):
                with self.settings.autocast():
                    back = self._back(model, rows, found)
                if back is not None:
                    distances[rows.start] = l1_loss(back, source) * len(source)
                yield quantise(found), self._labels(rows)

        def seen(batch: Batch) -> None:
            made.append(batch.pixels.cpu().numpy())

        found = self.scorer.score(translated(), held_out, halves=halves, shared=True, seen=seen)
        values = self._summed("cycle_l1", distances, self.scorer.n) | self._identity(model, seed)
        if not made:
            return found  # of a process that is not the first
        own, details = self._own(np.concatenate(made))
        return found._replace(values=found.values | values | own, details=found.details | details)

    def _translations(
        self, model: Translation, direction: Direction, n: int, seed: int, share: Share | None
    ) -> Iterator[tuple[slice, Tensor, Tensor]]:
        settings, size = self.settings, self.settings.batch_size
        return translations(model, direction, n, seed=seed, batch_size=size, autocast=settings.autocast, share=share)

    def _summed(self, key: str, own: Mapping[int, Tensor], n: int) -> dict[str, float]:
        """Return the mean over n images of sums over the batches of all processes, which are numbered in their order.

        It is empty where there are none, and in all processes but the first.
        """
        sums = self.settings.crew.merged({number: each.cpu() for number, each in own.items()}).values()
        return {key: sum(sums, torch.zeros(())).item() / n} if sums else {}

    def _labels(self, rows: slice) -> Tensor | None:
        return None if self.targets is None else torch.from_numpy(np.ascontiguousarray(self.targets[rows]))

    def _own(self, pixels: np.ndarray) -> tuple[dict[str, float], dict[str, Any]]:
        """Return the values and details of translations (n, C, H, W) uint8 that come from no metric."""
        direction, values, details = self.direction, {}, {}
        if direction.truth is not None:
            values["true_l1"] = float(np.abs(pixels.astype(float) - direction.truth[: len(pixels)]).mean() / 127.5)
        if direction.factors is not None:
            right = verdict(pixels, direction.factors[: len(pixels)])
            values |= {f"{key}_right": share for key, share in right.items()}
            if self.domains:
                details["right_by_source"] = right_by_source(direction, pixels)
        shares, table = self._classified(pixels)
        return values | shares, details | table

    @torch.no_grad()
    def _back(self, model: Translation, rows: slice, found: Tensor) -> Tensor | None:
        """Return the translations back to the source domain, or None."""
        if isinstance(model, Cyclic):
            return model.translate(found, next(each for each in model.directions if each != self.direction.direction))
        if isinstance(model, MultiDomain):
            labels = self.direction.source.labels
            assert labels is not None, "the labels of several domains are the domains"
            return model.move(found, torch.from_numpy(labels[rows]).to(found.device))
        return None

    def _identity(self, model: Translation, seed: int) -> dict[str, float]:
        """Return the mean distance of the target domain's images to their own translations, if it can take them."""
        if self.direction.source.spec.channels != self.direction.target.spec.channels:
            return {}
        own = replace(self.direction, source=self.direction.target)
        n = min(self.settings.n or len(own), len(own))
        found = self._translations(model, own, n, seed, self.settings.crew.share())
        sums = {rows.start: l1_loss(image, moved) * len(image) for rows, image, moved in found}
        return self._summed("identity_l1", sums, n)

    def _classified(self, pixels: np.ndarray) -> tuple[dict[str, float], dict[str, Any]]:
        """Return the share of translations that are classified correctly, and the confusion table."""
        if self.targets is None or self.classifier is None:
            return {}, {}
        target, classifier = self.direction.target, self.classifier
        batches = torch.from_numpy(pixels).split(500)
        seen = torch.cat([classifier(batch)[1].argmax(1).cpu() for batch in batches]).numpy()
        targets, classes = self.targets[: len(pixels)], target.spec.num_classes
        table = np.zeros((classes, classes), int)
        np.add.at(table, (targets, seen), 1)
        shares = {
            label: round(table[i, i] / max(table[i].sum(), 1), 4)
            for i, label in enumerate(target.class_names)
            if table[i].sum()
        }
        name = "domain_right" if self.domains else "labels_kept"
        facts = {"shares": shares, "rows_wanted_columns_seen": table.tolist(), "classifier": classifier.protocol()}
        return {name: float((seen == targets).mean())}, {name: facts}


@scores(Translation)
class Translations(Scoring):
    """All directions of a model, with extractors of their target domains.

    Besides those of the metrics, a direction has the following values, where they are meaningful:

    - ``cycle_l1``: mean distance of images, in [-1, 1], to their translation there and back;
    - ``identity_l1``: mean distance of the target domain's images to their own translations;
    - ``labels_kept``: share of translations in which a classifier of the target domain sees the source's label (for
      several domains ``domain_right``: the requested domain);
    - ``true_l1``: mean distance to the true translation, and for ``data=shapes`` the shares ``colour_right``,
      ``shape_right``, ``place_right`` (within 2 pixels) and ``all_right``; for several domains, the details list them
      for each source domain.
    """

    better = {
        "cycle_l1": False, "identity_l1": False, "true_l1": False, "labels_kept": True, "domain_right": True,
        **{f"{fact}_right": True for fact in ("colour", "shape", "place", "all")},
    }  # fmt: skip

    @staticmethod
    def batch_of(model: Translation, trained: int) -> int:
        return trained if model.mixes_batches else BATCH

    def check(self, model: Translation) -> None:
        check_images(model, self.settings.source.split(self.settings.split))

    def prepared(self, model: Translation) -> list[Subject]:
        settings, several = self.settings, isinstance(model, MultiDomain)
        found = directions(model, settings.source.split(settings.split))
        counts = [min(settings.n or len(each), len(each)) for each in found]
        for n in counts:
            check_metrics(settings.metrics, n)
        train = settings.source.split("train")
        of = {} if several else dict(zip(("b2a", "a2b"), domains(train), strict=True))
        extractors: dict[int, tuple[Features, Features | None]] = {}
        subjects: list[Subject] = []
        for direction, n in zip(found, counts, strict=True):
            learnt = of.get(direction.name, train)
            if id(learnt.pixels) not in extractors:
                extractors[id(learnt.pixels)] = self._extractors(learnt)
            extractor, classifier = extractors[id(learnt.pixels)]
            scorer = settings.scorer(direction.target, extractor, n, partial(_only, learnt))
            subject = Translated(scorer, settings, direction, classifier, several)
            scorer.check(model.held_out(), self.what, labelled=subject.targets is not None)
            subjects.append(subject)
        return subjects

    def _extractors(self, train: Images) -> tuple[Features, Features | None]:
        """Return the prepared features of a domain, and a prepared classifier of its labels if it has any."""
        device, extractor = self.settings.device, self.settings.features()
        extractor.prepare(lambda: train, device)
        if train.labels is None or train.spec.num_classes < 2:
            return extractor, None
        if isinstance(extractor, Classifier):
            return extractor, extractor
        classifier = Classifier()
        classifier.prepare(lambda: train, device)
        return extractor, classifier


def _only(images: Images, split: str) -> Images:
    """Return the training images, whatever the split: they are all that metrics get of a single domain."""
    return images


def target_labels(direction: Direction, several: bool) -> np.ndarray | None:
    """Return the correct classes for a classifier of the target domain, (N,), if there are any."""
    if several:
        return np.full(len(direction), int(direction.direction))
    same = direction.source.labels is not None and direction.source.class_names == direction.target.class_names
    return direction.source.labels if same else None


def right_by_source(direction: Direction, pixels: np.ndarray) -> dict[str, dict[str, float]]:
    """Return the shares that are right in the translations from each domain, by the domain's name."""
    labels, factors = direction.source.labels, direction.factors
    assert labels is not None and factors is not None, "several domains of shapes have both"
    found, labels, factors = {}, labels[: len(pixels)], factors[: len(pixels)]
    for label, name in enumerate(direction.source.class_names):
        if (here := labels == label).any():
            right = verdict(pixels[here], factors[here])
            found[name] = {key: round(share, 4) for key, share in right.items()}
    return found
