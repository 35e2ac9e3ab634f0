"""Images that a model samples, with the class frequencies of the real images if it is conditional."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from gancli.data.source import Images
from gancli.data.spec import described
from gancli.errors import UsageError
from gancli.metrics.base import Batch
from gancli.metrics.features import Pixels
from gancli.metrics.path_length import measured
from gancli.metrics.registry import check_features, check_metrics, use_features
from gancli.metrics.regrouped import Stream
from gancli.metrics.scorer import MOST, Scorer
from gancli.metrics.scoring.base import Scoring, Settings, Subject, scores
from gancli.models.base import Model
from gancli.models.paths import steps
from gancli.models.sampling import draw, labels_like
from gancli.models.style import StyleBased


class Drawn(Subject):
    """Images that a model samples."""

    shared = True

    def about(self, model: Model) -> dict[str, Any]:
        pixels = {"pixels": model.pixel_values} if model.pixel_values else {}
        return self.facts | {"batch_norm": model.batch_norm} | pixels

    def stream(self, model: Model, seed: int) -> Stream:
        labels, size = self._labels(model, seed), self.settings.batch_size
        return draw(
            model, self.scorer.n, seed=seed, batch_size=size, labels=labels, wait=False, share=self.scorer.share(),
            autocast=self.settings.autocast,
        )  # fmt: skip

    def paths(self, model: Model, seed: int) -> Iterable[Batch]:
        assert isinstance(model, StyleBased), "Scorer.check() has refused others"
        labels, size, crew = self._labels(model, seed), self.settings.batch_size, self.settings.crew
        walk = steps(
            model, self.scorer.n, seed=seed, batch_size=size, labels=labels, share=crew.share()
        )  # float32 anyway
        return measured(walk, self.scorer.features)

    def _labels(self, model: Model, seed: int) -> Tensor | None:
        return labels_like(model, self.settings.source.split(self.settings.split), self.scorer.n, seed=seed)


@scores(Model)
class Samples(Scoring):
    """A model's samples, and its likelihood of held-out images if a metric uses it."""

    def check(self, model: Model) -> None:
        reference = self.settings.source.split(self.settings.split)
        check_size(reference, model.spec.shape, f"{self.what} draws")
        labels_like(model, reference, 1, seed=0)  # refuses data of other classes

    def prepared(self, model: Model) -> list[Subject]:
        labels = {"labels": "as frequent as in the split"} if model.conditional else {}
        scorer = prepared_scorer(self.settings, self.settings.n)
        scorer.check(model.held_out(), self.what, labelled=model.conditional, styled=isinstance(model, StyleBased))
        return [Drawn(scorer, self.settings, facts=labels)]


def prepared_scorer(settings: Settings, n: int | None) -> Scorer:
    """Return the scorer of n images against the whole split, with the features that the metrics need.

    Raises:
        UsageError: there are too few images, or the features do not suit them.
    """
    reference = settings.source.split(settings.split)
    n = n or min(MOST, len(reference))
    features = settings.features() if use_features(settings.metrics) else Pixels()
    check_features(features, reference)
    check_metrics(settings.metrics, n)
    features.prepare(lambda: settings.source.split("train"), settings.device)
    return settings.scorer(reference, features, n, settings.source.split)


def check_size(reference: Images, shape: tuple[int, int, int], what: str) -> None:
    """Refuse images whose shape (C, H, W) differs from the reference's. Raises UsageError."""
    if reference.spec.shape != shape:
        have, want = described(reference.spec.shape), described(shape)
        channels, height, width = shape
        fitting = f", such as data.size={height} data.channels={channels}" if height == width else ""
        raise UsageError(f"{reference.name} has images of {have}, but {what} {want}: choose data of that size{fitting}")
