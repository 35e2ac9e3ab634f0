"""Class coverage and accuracy of generated images, as predicted by a classifier of the data's own classes."""

import math
from collections.abc import Mapping
from typing import Any, Self

import torch

from gancli.errors import UsageError
from gancli.metrics.base import GENERATED, REAL, Batch, Metric, SetInfo, Statistic, Statistics
from gancli.metrics.features import Features, Images


class Predictions(Statistic):
    """Counts of the predicted classes, and of the predictions that agree with the image's label."""

    def __init__(self, about: SetInfo) -> None:
        self.counts = torch.zeros(about.classes, dtype=torch.int64, device=about.device)
        self.correct = torch.zeros((), dtype=torch.int64, device=about.device)
        self.num_labelled = 0

    @classmethod
    def of(cls, about: SetInfo) -> Self:
        return cls(about)

    def add(self, batch: Batch) -> None:
        assert batch.logits is not None  # requested by `network`
        predicted = batch.logits.argmax(1)
        # Not by bincount, which waits for the device to learn the largest class.
        self.counts.index_add_(0, predicted, torch.ones_like(predicted))
        if batch.labels is not None:
            self.correct += (predicted == batch.labels.to(predicted)).sum()
            self.num_labelled += len(predicted)


class ClassBalance(Metric):
    """Scores of the histogram of predicted classes.

    - `modes`: number of classes predicted at least once.
    - `mode_jsd`: Jensen-Shannon divergence between the histograms of generated and real images, in nats: 0 if they are
      equal, ln 2 = 0.693 if they are disjoint.
    - `reverse_kl`: KL(generated || uniform) in nats, as in tables of Stacked MNIST. Its expectation for n images of K
      equally frequent classes is about (K - 1) / 2n.
    - `accuracy`: fraction of images whose predicted class is their label; only for labelled images.
    """

    name = "classes"
    needs = {GENERATED: (Predictions,), REAL: (Predictions,)}
    values = {"modes": True, "mode_jsd": False, "reverse_kl": False, "accuracy": True}

    def check(self, features: Features, reference: Images) -> None:
        classes = reference.spec.num_classes
        if classes < 2 or features.classes != classes or features.points:
            raise UsageError(
                f"metrics: classes needs a classifier of {reference.name}'s {classes} classes, but features "
                f"{features.name} has {features.classes}: choose labelled data and features=classifier"
            )

    def details(self, sets: Mapping[str, Statistics]) -> dict[str, Any]:
        return {name: sets[name][Predictions].counts.tolist() for name in (GENERATED, REAL)}

    def __call__(self, sets: Mapping[str, Statistics]) -> dict[str, float]:
        found = sets[GENERATED][Predictions]
        values = {
            "modes": float((found.counts > 0).sum()),
            "mode_jsd": jsd(found.counts, sets[REAL][Predictions].counts),
            "reverse_kl": kl_uniform(found.counts),
        }
        if found.num_labelled:
            values["accuracy"] = found.correct.item() / found.num_labelled
        return values


def kl_uniform(counts: torch.Tensor) -> float:
    """Return KL(histogram || uniform) of counts (K,), in nats: 0 for equal counts, log K for a single class."""
    p = counts.double() / counts.sum()
    return max(0.0, math.log(len(p)) - torch.special.entr(p).sum().item())


def jsd(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return the Jensen-Shannon divergence of two histograms of counts (K,), in nats."""
    p, q = (counts.double() / counts.sum() for counts in (a, b))
    entropy = lambda x: torch.special.entr(x).sum()  # noqa: E731
    return max(0.0, (entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2).item())
