"""The interface of metrics: which statistics of which images a metric needs, and how it computes values from them.

Images are read once, in batches, for all metrics: a statistic that several metrics need is kept once, and the noise
floor is the same metric applied to two halves of the real images.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from gancli.metrics.features import Features, Images
from gancli.models.held_out import HeldOut

GENERATED, REAL, TRAIN, VALIDATION = "generated", "real", "train", "validation"  # the sets a metric may look at
MODEL = "model"  # the real images again, with the model's likelihood of each
RECONSTRUCTED = "reconstructed"  # the model's reconstructions of the real images
PATHS = "paths"  # pairs of images that the model draws a small step apart from each other


@dataclass(frozen=True)
class Batch:
    """The next images of a set, with their features and logits."""

    pixels: Tensor  # (N, C, H, W) uint8; points: (N, D, 1, 1) float32
    features: Tensor | None  # (N, D) float32; None: no statistic of this set uses the extractor
    logits: Tensor | None  # (N, classes) float32
    labels: Tensor | None  # (N,) int64; None: the images have none
    nats: Tensor | None = None  # (N,) -log p(x), for the set MODEL
    likelihood: HeldOut | None = None  # where the nats come from
    steps: Mapping[str, Tensor] | None = None  # (N,) squared distances of features by kind of path, for the set PATHS
    also: Mapping[str, Tensor] = field(default_factory=dict)  # what else the model says, by the names in HeldOut.also

    def rows(self, index: Tensor) -> "Batch":
        """Return the images at an index, (M,) int64."""

        def pick(x: Tensor | None) -> Tensor | None:
            return None if x is None else x[index.to(x.device)]

        pixels = self.pixels[index.to(self.pixels.device)]
        return Batch(pixels, pick(self.features), pick(self.logits), pick(self.labels))

    def to(self, device: torch.device | str) -> "Batch":
        """Return the images of a set that has no likelihoods on a device."""

        def moved(x: Tensor | None) -> Tensor | None:
            return None if x is None else x.to(device)

        steps = None if self.steps is None else {kind: each.to(device) for kind, each in self.steps.items()}
        features, logits, labels = moved(self.features), moved(self.logits), moved(self.labels)
        return Batch(self.pixels.to(device), features, logits, labels, steps=steps)

    @staticmethod
    def joined(parts: Sequence["Batch"]) -> "Batch":
        """Return the images of several batches as one."""

        def whole(column: list[Tensor | None]) -> Tensor | None:
            return None if column[0] is None else torch.cat([each for each in column if each is not None])

        features, logits, labels = (
            whole([getattr(each, name) for each in parts]) for name in ("features", "logits", "labels")
        )
        return Batch(torch.cat([each.pixels for each in parts]), features, logits, labels)


@dataclass(frozen=True)
class SetInfo:
    """What a statistic knows of its set before the first image."""

    n: int  # number of images
    dim: int  # number of features
    classes: int  # number of logits
    device: torch.device


class Statistic(ABC):
    """A summary of a set of images. Unless the class says otherwise, its memory does not grow with n."""

    network: ClassVar[bool] = True  # whether it uses features or logits
    labelled: ClassVar[bool] = False  # whether it needs labels
    asks: ClassVar[str] = "nats"  # of the set MODEL: what the model is asked of each image, see HeldOut.ask()
    asked_of: ClassVar[str] = "a latent-variable model, such as model=vae"  # the models that answer, for messages

    @classmethod
    @abstractmethod
    def of(cls, about: SetInfo) -> Self:
        """Return an empty statistic for a set."""

    @abstractmethod
    def add(self, batch: Batch) -> None:
        """Take in the next images."""


Statistics = Mapping[type[Statistic], Any]  # one of each class; Any, since each class has its own kind of result


class Metric(ABC):
    """A function of the statistics of one or more sets of images, without state."""

    name: ClassVar[str]  # in metrics=[...]
    needs: ClassVar[Mapping[str, tuple[type[Statistic], ...]]]  # set -> statistics
    values: ClassVar[Mapping[str, bool | None]]  # key -> whether higher is better; None: neither
    least: ClassVar[int] = 2  # the fewest images in the generated and in the real set
    constants: ClassVar[Mapping[str, Any]] = {}  # for the protocol, as plain JSON types

    def check(self, features: Features, reference: Images) -> None:
        """Refuse an extractor or data for which the metric is meaningless, before any image. Raises UsageError."""

    def warn(self, sets: Mapping[str, Statistics]) -> str | None:
        """Return a warning to show with the values, or None."""

    def details(self, sets: Mapping[str, Statistics]) -> dict[str, Any]:
        """Return further facts for the JSON, as plain JSON types."""
        return {}

    @abstractmethod
    def __call__(self, sets: Mapping[str, Statistics]) -> dict[str, float]:
        """Return the values: all keys of ``values`` that these images allow. Raises UsageError."""
