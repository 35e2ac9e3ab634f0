"""Computes a list of metrics in one pass over the images, against a reference that is read once."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gancli.errors import UsageError
from gancli.metrics import asked, moments
from gancli.metrics.base import GENERATED, MODEL, PATHS, REAL, Batch, Metric, SetInfo, Statistic, Statistics
from gancli.metrics.features import Features, Images
from gancli.metrics.reference_cache import ReferenceCache
from gancli.metrics.registry import check_metrics, metrics_named
from gancli.metrics.regrouped import Stream, regrouped, slice_of, within
from gancli.metrics.resampling import deviations
from gancli.models.held_out import HeldOut
from gancli.models.shares import ALONE, Crew, Share

log = logging.getLogger("gancli")

MOST = 50_000  # default number of images, as in papers
HALVES = {"half": GENERATED, "other half": REAL}  # halves of the real images, and their roles in the noise floor

Watch = Callable[[str, int, int], None]  # what, done, total


class Scores(NamedTuple):
    """The scores of one set of generated images."""

    values: dict[str, float]
    details: dict[str, Any]  # plain JSON types, by metric
    deviations: dict[str, float] = {}  # over sets of the same number of images, if requested


class Scorer:
    """The metrics and all that they need of the real images, which are read before the first generated image."""

    def __init__(
        self,
        metrics: Sequence[str | Metric],
        reference: Images,
        features: Features,  # prepared
        *,
        n: int | None = None,  # images to score; None: 50,000, or as many as the reference has if it has fewer
        batch_size: int = 64,  # of the likelihood of real images
        features_batch: int = 0,  # images whose features are computed together, at least; 0: batch_size
        device: torch.device,  # of the sums
        splits: Callable[[str], Images],  # returns "train" or "validation", for metrics that use them
        floor: bool = False,  # also prepare for floor()
        known: moments.Gaussian | None = None,  # statistics used in place of the reference's own, without a floor
        watch: Watch = lambda what, done, total: None,
        crew: Crew = ALONE,  # processes that score together: all call score(), and the first one has the values
    ) -> None:
        self.n = n or min(MOST, len(reference))
        self.metrics = metrics_named(metrics)
        check_metrics(self.metrics, self.n)
        self.reference, self.features, self.known, self.watch = reference, features, known, watch
        self._batch_size, self._device, self._splits = batch_size, device, splits
        self._features_batch = features_batch or batch_size
        self.crew = crew
        self._cache = ReferenceCache(features, self._features_batch, device, parts=HALVES)
        self._half = min(self.n, len(reference) // 2) if floor and known is None else 0
        self._warned: set[str] = set()
        if known and len(known.mean) != features.dim:
            raise UsageError(
                f"reference=: its mean has {len(known.mean)} features and those of features=... have {features.dim}; "
                "name statistics of the same network"
            )
        for metric in self.metrics:
            metric.check(features, reference)
            if REAL in metric.needs and known and set(metric.needs[REAL]) != {moments.Moments}:
                raise UsageError(f"metrics: {metric.name} needs the images, not the mean and covariance of reference=")
            if REAL in metric.needs and len(reference) < metric.least:
                raise UsageError(
                    f"{metric.name} needs {metric.least} reference images or more, "
                    f"but the {reference.split} split has {len(reference)}"
                )

    @property
    def draws(self) -> bool:
        """Whether any metric uses images that the model draws."""
        return self.walks or any(GENERATED in metric.needs for metric in self.metrics)

    @property
    def walks(self) -> bool:
        """Whether any metric uses steps along paths between latents."""
        return any(PATHS in metric.needs for metric in self.metrics)

    @property
    def asks(self) -> bool:
        """Whether any metric uses the model's likelihood."""
        return any(set(asked.SETS) & metric.needs.keys() for metric in self.metrics)

    def check(self, likelihood: HeldOut | None, what: str, *, labelled: bool, styled: bool = False) -> None:
        """Refuse ``what`` if it lacks required labels or a required likelihood of these images. Raises UsageError.

        ``labelled`` says whether images come with the class that they were drawn for, ``styled`` if it is style-based.
        """
        if self.walks and not styled:
            raise UsageError(f"metrics: path_length needs a style-based model, as model=stylegan2; {what} is none")
        for metric in self.metrics:
            if not labelled and any(each.labelled for each in metric.needs.get(GENERATED, ())):
                raise UsageError(
                    f"metrics: {metric.name} needs the class of each image, which {what} does not give: "
                    "use a conditional model (model=cgan), or images in folders named after the data's classes"
                )
        if not self.asks:
            return
        levels = self.reference.spec.levels
        for metric in self.metrics:
            unsaid = likelihood is None or likelihood.nats is None
            if {each.asks for each in metric.needs.get(MODEL, ())} == {"nats"} and unsaid:
                raise UsageError(
                    f"metrics: {metric.name} needs a model with a likelihood, but {what} has none "
                    "(parzen estimates one)"
                )
            asked.check(metric, likelihood, what)
        assert likelihood is not None, "a metric asks for it, and would have been refused"
        if self.reference.spec.dequantised and not likelihood.spread:
            raise UsageError(
                f"{what} does not support data.dequantise=uniform: use data.dequantise=null, or train a density "
                "model with it, such as model=kde"
            )
        if levels != likelihood.levels:
            raise UsageError(
                f"{self.reference.name} has {levels} levels per channel, but {what} has {likelihood.levels}: "
                "their likelihoods are not comparable; set data.bits or data.binarise as in its training"
            )

    @torch.no_grad()
    def score(
        self, stream: Stream, likelihood: HeldOut | None = None, *, halves: int = 0, paths: Iterable[Batch] = (),
        shared: bool = False, seen: Callable[[Batch], None] = lambda batch: None,
    ) -> Scores:  # fmt: skip
        """Score n images of the stream, which is read once, ``likelihood`` on all real images, and ``paths``.

        ``halves`` random halves estimate the spread of values; this keeps all images' features. Of several processes
        all call this, and the first one has the values: its ``seen`` is given the images of all. ``shared``: the stream
        has the images of share() (else the first one reads it alone). ``paths`` has the batches of crew.share().

        Raises:
            UsageError: a metric cannot be computed on these images.
            RankLost: another process has ended.
        """
        main = self.crew.rank == 0
        others = self._others if main else {}
        about = self._about(self.n)
        found = {each: each.of(about) for each in _union(self.metrics, GENERATED)}
        done, kept = 0, []
        batches = self._shared(stream) if shared else self._generated(stream) if main else ()
        for batch in batches if found else ():
            for statistic in found.values():
                statistic.add(batch)
            seen(batch)
            if halves:
                kept.append(batch)
            done += len(batch.pixels)
            self.watch("generated images", done, self.n)
        sets = {GENERATED: found, **self._asked(likelihood), PATHS: self._walked(paths), **others}
        if not main:
            return Scores({}, {})
        warnings = {text for metric in self.metrics if (text := metric.warn(sets))}
        for text in warnings - self._warned:  # warn once, although training scores many times
            log.warning("%s", text)
        self._warned |= warnings
        return Scores(
            {key: value for metric in self.metrics for key, value in metric(sets).items()},
            {metric.name: details for metric in self.metrics if (details := metric.details(sets))},
            deviations(self.metrics, Batch.joined(kept), others, self._about, halves) if kept else {},
        )

    def share(self) -> Share | None:
        """Return the batches of the size ``batch_size`` that this process has to draw; None: all."""
        return self.crew.share(self._run)

    @property
    def _run(self) -> int:
        """Number of batches that are looked at together, so that every process has the groups that one would have."""
        return -(-self._features_batch // self._batch_size)

    def _generated(self, stream: Stream) -> Iterator[Batch]:
        """Yield the images of a stream with what metrics need of them."""
        types = _union(self.metrics, GENERATED)
        for pixels, labels in regrouped(stream, self._features_batch):
            yield self._seen(pixels, labels, types)

    def _shared(self, stream: Stream) -> Iterator[Batch]:
        """As _generated(), of the streams of all processes, in the order of one, in the first process."""
        return self._in_turns(self._generated(stream), self._batch_size * self._run)

    def _in_turns(self, own: Iterable[Batch], size: int) -> Iterator[Batch]:
        if self.crew.world == 1:
            yield from own
            return
        for batch in self.crew.in_turns((each.to("cpu") for each in own), -(-self.n // size)):
            yield batch.to(self._device)

    def _asked(self, likelihood: HeldOut | None) -> dict[str, Statistics]:
        """Collect what the model says of every reference image, and its reconstructions."""
        about = self._about(len(self.reference))
        found = {name: {each: each.of(about) for each in _union(self.metrics, name)} for name in asked.SETS}
        if any(found.values()):
            assert likelihood is not None, "check() has refused models without one"
            own = {"batch_size": self._batch_size, "device": self._device, "watch": self.watch, "crew": self.crew}
            asked.ask(likelihood, self.reference, found, self._seen, **own)  # type: ignore[arg-type]
        return dict(found)

    def _walked(self, paths: Iterable[Batch]) -> Statistics:
        """Collect the statistics of steps along paths."""
        found, done = {each: each.of(self._about(self.n)) for each in _union(self.metrics, PATHS)}, 0
        for batch in self._in_turns(paths, self._batch_size) if found else ():
            for statistic in found.values():
                statistic.add(batch)
            done += len(batch.pixels)
            self.watch("steps along paths", done, self.n)
        return found

    def real(self) -> moments.Gaussian:
        """Return the mean and covariance of the reference's features, from the cache if they are there."""
        return self.known or self._others[REAL][moments.Moments].gaussian()

    def floor(self) -> tuple[int, dict[str, float]]:
        """Return the number of images in a half of the reference, and the values of one half against the other.

        The halves are random and disjoint, of at most n images each. No generator should score better than real images
        do. A metric that needs more images than a half has is left out.
        """
        return self._half, dict(self._floor)

    @property
    def has_floor(self) -> bool:
        """Whether floor() has values, told without collecting anything."""
        return bool(self._floored())

    @cached_property
    def _floor(self) -> dict[str, float]:
        halves = {role: self._others[half] for half, role in HALVES.items() if half in self._others}
        sets = {**self._others, **halves}
        return {key: value for metric in self._floored() for key, value in metric(sets).items()}

    def _floored(self) -> list[Metric]:
        return [each for each in self.metrics if GENERATED in each.needs and self._half >= each.least]

    @cached_property
    def _others(self) -> dict[str, Statistics]:
        """The statistics of all sets except the generated one, including the halves of the real one."""
        wanted = {name: _union(self.metrics, name) for metric in self.metrics for name in metric.needs}
        halves = {half: _union(self._floored(), role) for half, role in HALVES.items() if self._floored()}
        order = np.random.RandomState(0).permutation(len(self.reference))
        rows = {half: np.sort(order[i * self._half : (i + 1) * self._half]) for i, half in enumerate(halves)}
        if self.known:
            found: dict[str, Statistics] = {REAL: {moments.Moments: moments.Precomputed(self.known)}}
        else:
            both = {REAL: wanted.get(REAL, []), **halves}
            found = self._look(self.reference, both, rows, "reference images")
        for name in wanted.keys() - {GENERATED, REAL, PATHS, *asked.SETS}:
            found |= self._look(self._splits(name), {name: wanted[name]}, {}, f"{name} images")
        return found

    def _look(
        self, images: Images, wanted: Mapping[str, list[type[Statistic]]], rows: Mapping[str, np.ndarray], what: str
    ) -> dict[str, Statistics]:
        """Collect the statistics of sets in one pass over their rows (default: all); skip it if all are cached."""
        found: dict[str, dict[type[Statistic], Any]] = {}
        missing: dict[str, dict[type[Statistic], Any]] = {}
        for name, types in wanted.items():
            n = len(rows.get(name, images))
            cached = self._cache.load(images, name, n) if moments.Moments in types else None
            found[name] = {moments.Moments: moments.Precomputed(cached)} if cached else {}
            missing[name] = {each: each.of(self._about(n)) for each in types if each not in found[name]}
        collected = [statistic for each in missing.values() for statistic in each.values()]
        for start in range(0, len(images), self._features_batch) if collected else ():
            stop = min(len(images), start + self._features_batch)
            batch = self._seen(*slice_of(images, start, stop), collected)
            for name, statistics in missing.items():
                part = batch if name not in rows else within(batch, rows[name], start, stop)
                for statistic in statistics.values() if len(part.pixels) else ():
                    statistic.add(part)
            self.watch(what, stop, len(images))
        for name, statistics in missing.items():
            if moments.Moments in statistics:
                self._cache.keep(images, name, len(rows.get(name, images)), statistics[moments.Moments].gaussian())
        return {name: {**found[name], **missing[name]} for name in wanted}

    def _seen(self, pixels: Tensor, labels: Tensor | None, statistics: Iterable[Any]) -> Batch:
        if not any(statistic.network for statistic in statistics):
            return Batch(pixels, None, None, labels)
        return Batch(pixels, *self.features(pixels), labels)

    def _about(self, n: int) -> SetInfo:
        return SetInfo(n, self.features.dim, self.features.classes, self._device)


def _union(metrics: Iterable[Metric], name: str) -> list[type[Statistic]]:
    """Return the statistics of one set that the metrics need, each once."""
    return list(dict.fromkeys(each for metric in metrics for each in metric.needs.get(name, ())))
