"""The interface of a score: which statistics of which images it needs, and its values from them.

Images come by once, in batches, whatever is asked of them: a statistic that several metrics need is kept once, and the
noise floor is the same metric of two halves of the real images.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from gancli.metrics.features import Features, Images
from gancli.models.held_out import HeldOut

GENERATED, REAL, TRAIN, VALIDATION = "generated", "real", "train", "validation"  # the sets a metric may look at
MODEL = "model"  # the real images again, with what the model itself thinks of each


@dataclass(frozen=True)
class Batch:
    """The next images of a set, with what the extractor makes of them."""

    pixels: Tensor  # (N, C, H, W) uint8; points: (N, D, 1, 1) float32
    features: Tensor | None  # (N, D) float32; None: no statistic of this set uses the extractor
    logits: Tensor | None  # (N, classes) float32
    labels: Tensor | None  # (N,) int64; None: the images have none
    nats: Tensor | None = None  # (N,) -log p(x), of the set MODEL
    likelihood: HeldOut | None = None  # that gave them

    def rows(self, index: Tensor) -> "Batch":
        """Return some of the images, index (M,) int64."""

        def pick(x: Tensor | None) -> Tensor | None:
            return None if x is None else x[index.to(x.device)]

        pixels = self.pixels[index.to(self.pixels.device)]
        return Batch(pixels, pick(self.features), pick(self.logits), pick(self.labels))

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
    """What a statistic is told before the first image of its set."""

    n: int  # images to come
    dim: int  # features
    classes: int  # logits
    device: torch.device


class Statistic(ABC):
    """What is remembered of a set of images. Unless the class says otherwise, its memory does not grow with n."""

    network: ClassVar[bool] = True  # uses features or logits
    labelled: ClassVar[bool] = False  # cannot do without labels

    @classmethod
    @abstractmethod
    def of(cls, about: SetInfo) -> Self:
        """Return the statistic of a set that is about to come."""

    @abstractmethod
    def add(self, batch: Batch) -> None:
        """Take in the next images."""


Statistics = Mapping[type[Statistic], Any]  # one of each class; Any, for each has results of its own kind


class Metric(ABC):
    """A function of the statistics of two or more sets of images; has no state."""

    name: ClassVar[str]  # in metrics=[...]
    needs: ClassVar[Mapping[str, tuple[type[Statistic], ...]]]  # set -> statistics
    values: ClassVar[Mapping[str, bool | None]]  # key -> whether higher is better; None: neither
    least: ClassVar[int] = 2  # images, in the generated and the real set
    constants: ClassVar[Mapping[str, Any]] = {}  # of the protocol, plain JSON types

    def check(self, features: Features, reference: Images) -> None:
        """Refuse, before the first image, an extractor or data that the metric means nothing for. Raises UsageError."""

    def warn(self, sets: Mapping[str, Statistics]) -> str | None:
        """Return what must be said beside the values, or None."""

    def details(self, sets: Mapping[str, Statistics]) -> dict[str, Any]:
        """Return what a reader of the JSON needs besides the values, as plain JSON types."""
        return {}

    @abstractmethod
    def __call__(self, sets: Mapping[str, Statistics]) -> dict[str, float]:
        """Return the values, all keys of ``values`` that these images allow. Raises UsageError."""
