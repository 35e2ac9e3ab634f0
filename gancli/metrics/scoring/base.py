"""What of a model is scored, family by family.

A family is scored as the nearest of its base classes is: a ``Model`` by images of its prior (``samples.py``), a
``Translation`` by its directions (``translations.py``). A family of another package brings its own scoring along, in
the module of its models or in one that this module imports:

    @scores(MyFamily)
    class MyScoring(Scoring): ...
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from statistics import fmean
from typing import Any, ClassVar

import torch

from gancli.data.source import Images, Source
from gancli.metrics.base import Batch, Metric
from gancli.metrics.features import Features
from gancli.metrics.moments import Gaussian
from gancli.metrics.regrouped import Stream
from gancli.metrics.scorer import Scorer, Scores, Watch
from gancli.models.base import Model
from gancli.models.held_out import HeldOut
from gancli.models.shares import ALONE, Crew

BATCH = 64  # images that are drawn at a time


def unwatched(what: str, done: int, total: int) -> None:
    """Show no progress."""


@dataclass(frozen=True)
class Settings:
    """What an evaluation asks for, whatever the family."""

    metrics: Sequence[Metric]
    source: Source
    split: str  # whose images are compared with
    features: Callable[[], Features]  # makes an extractor, not prepared
    batch_size: int  # of the drawn images
    device: torch.device
    n: int | None = None  # images of each subject; None: its own choice
    floor: bool = False  # score real images against real ones, too
    known: Gaussian | None = None  # statistics in place of the real images' own
    watch: Watch = unwatched
    precision: str = "float32"  # in which the model draws, for the protocol; likelihoods and features are float32
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext  # makes a model draw in it
    crew: Crew = ALONE  # processes that draw together

    @property
    def features_batch(self) -> int:
        """Images whose features are computed together, at least: pix2pix draws one by one, a GPU needs many."""
        return max(self.batch_size, 256 if self.device.type == "cuda" else 64)

    def scorer(self, reference: Images, features: Features, n: int, splits: Callable[[str], Images]) -> Scorer:
        """Return a scorer of n images against a reference, by features that are prepared."""
        return Scorer(
            self.metrics, reference, features, n=n, batch_size=self.batch_size, features_batch=self.features_batch,
            device=self.device, splits=splits, floor=self.floor, known=self.known, watch=self.watch,
            crew=self.crew,
        )  # fmt: skip


class Subject(ABC):
    """One thing that is scored of a model, with a score card of its own.

    Args:
        scorer: holds the metrics and the real images.
        settings: of the evaluation.
        name: part of the file's name and of the values' names where a model has several subjects.
        facts: what the protocol says of it.
    """

    def __init__(self, scorer: Scorer, settings: Settings, name: str = "", facts: Mapping[str, Any] | None = None):
        self.scorer, self.settings, self.name, self.facts = scorer, settings, name, dict(facts or {})

    @property
    def title(self) -> str:
        """The line above its values on the terminal; empty: none."""
        return ""

    def about(self, model: Any) -> dict[str, Any]:
        """Return what the protocol says of the subject of a model."""
        return self.facts

    shared: ClassVar[bool] = False  # whether stream() has only the images of scorer.share()

    @abstractmethod
    def stream(self, model: Any, seed: int) -> Stream:
        """Yield ``scorer.n`` images as bytes, a function of the seed, with the labels that they should have or None."""

    def paths(self, model: Any, seed: int) -> Iterable[Batch]:
        """Yield ``scorer.n`` steps along paths between latents; a subject without any is refused by the scorer.

        Several processes share them, batch by batch: ``settings.crew.share()``.
        """
        return ()

    def score(self, model: Any, *, seed: int, held_out: HeldOut | None = None, halves: int = 0) -> Scores:
        """Return the values and details of one seed; a subject adds values of its own here. See Scorer.score().

        Of several processes all call this, and the first one has the values.
        """
        paths = self.paths(model, seed) if self.scorer.walks else ()
        return self.scorer.score(self.stream(model, seed), held_out, halves=halves, paths=paths, shared=self.shared)


class Scoring(ABC):
    """The subjects of a model, ready to be scored.

    Everything that can fail fails in the constructor, before the first image is drawn: other data than the model's,
    too few images, features without weights. The cheap checks come before classifiers are trained.

    Args:
        model: one of those that will be scored: says which subjects there are.
        settings: of the evaluation.
        what: names the model in messages.

    Raises:
        UsageError: as above.
    """

    better: ClassVar[Mapping[str, bool]] = {}  # of values besides those of the metrics, whether higher is better

    def __init__(self, model: Any, settings: Settings, what: str) -> None:
        self.settings, self.what = settings, what
        self.check(model)
        self.subjects = self.prepared(model)

    @staticmethod
    def batch_of(model: Any, trained: int) -> int:
        """Return the number of images to draw at a time, in training and in gancli eval, which thus draw the same.

        Args:
            model: see Scoring.
            trained: images of a training batch.
        """
        return BATCH

    def check(self, model: Any) -> None:
        """Refuse a model that cannot be scored on these data. Raises UsageError."""

    @abstractmethod
    def prepared(self, model: Any) -> list[Subject]:
        """Return the subjects, in the order of their cards, with features that are prepared."""


_SCORINGS: dict[type, type[Scoring]] = {}


def scores(family: type) -> Callable[[type[Scoring]], type[Scoring]]:
    """Register a scoring for a family of models, as a decorator of the scoring's class."""

    def register(scoring: type[Scoring]) -> type[Scoring]:
        _SCORINGS[family] = scoring
        return scoring

    return register


def scoring_of(kind: type) -> type[Scoring]:
    """Return the scoring of a class of models: that of the nearest base class which has one."""
    from gancli.metrics.scoring import pyramid, samples, translations  # noqa: F401  they register themselves

    return next(_SCORINGS[base] for base in kind.__mro__ if base in _SCORINGS)


def known_better() -> dict[str, bool]:
    """Return the values of all scorings that are loaded, with whether higher is better."""
    scoring_of(Model)
    return {key: higher for scoring in _SCORINGS.values() for key, higher in scoring.better.items()}


def together(each: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the values of all subjects by one name each.

    Those of the only subject without a name stay as they are; others become ``<subject>/<value>``, and the mean of a
    value that all subjects have goes by the value's own name.
    """
    if list(each) == [""]:
        return dict(each[""])
    shared = set.intersection(*(set(values) for values in each.values()))
    every = {f"{name}/{key}": value for name, values in each.items() for key, value in values.items()}
    return {key: fmean(values[key] for values in each.values()) for key in sorted(shared)} | every
