"""Conditional FID: between generated and real images of the same class; "intra FID" of Miyato and Koyama 2018.

cGANs with Projection Discriminator, arXiv 1802.05637. Unlike FID, it detects images of the wrong class, and lack of
variety within classes.
"""

import math
from collections.abc import Mapping
from typing import Any

from gancli.errors import UsageError
from gancli.metrics.base import GENERATED, REAL, Metric, Statistics
from gancli.metrics.features import Features, Images
from gancli.metrics.fid import few, fid
from gancli.metrics.kept import KeptFeatures, KeptLabels
from gancli.metrics.moments import Moments


class FIDPerClass(Metric):
    """Mean of the FIDs within each class of the real images; infinite if a class has fewer than two images.

    Classes are the labels a conditional model was given or those of an image folder, never predictions. Each class has
    few images, which biases FID upwards: compare only equal numbers of images, and with the noise floor.
    """

    name = "fid_per_class"
    needs = {GENERATED: (KeptFeatures, KeptLabels), REAL: (KeptFeatures, KeptLabels)}
    values = {"fid_per_class": False}

    def check(self, features: Features, reference: Images) -> None:
        if reference.labels is None:
            raise UsageError(
                f"metrics: fid_per_class needs labelled data, but {reference.name} has no labels: choose metrics=[fid]"
            )

    def warn(self, sets: Mapping[str, Statistics]) -> str | None:
        counts = self._counts(sets)
        if lost := [str(label) for label, found in counts.items() if min(found) < 2]:
            return f"fid_per_class is infinite: fewer than 2 images of class {', '.join(lost)}"
        text = few(min(map(min, counts.values())), sets[REAL][KeptFeatures].rows().shape[1])
        return text and f"fid_per_class: {text}"

    def details(self, sets: Mapping[str, Statistics]) -> dict[str, Any]:
        distances = self._distances(sets)
        return {
            str(label): {"fid": distance, "generated": generated, "real": real}
            for (label, (generated, real)), distance in zip(self._counts(sets).items(), distances, strict=True)
        }

    def __call__(self, sets: Mapping[str, Statistics]) -> dict[str, float]:
        distances = self._distances(sets)
        finite = [each for each in distances if each is not None]
        return {"fid_per_class": sum(finite) / len(finite) if len(finite) == len(distances) else math.inf}

    def _counts(self, sets: Mapping[str, Statistics]) -> dict[int, tuple[int, int]]:
        """Return the numbers of generated and of real images of each class."""
        generated, real = (sets[name][KeptLabels].labels() for name in (GENERATED, REAL))
        found = real.unique().tolist()
        return {label: (int((generated == label).sum()), int((real == label).sum())) for label in found}

    def _distances(self, sets: Mapping[str, Statistics]) -> list[float | None]:
        return [
            fid(*(_moments(sets[name], label).gaussian() for name in (GENERATED, REAL))) if min(counts) > 1 else None
            for label, counts in self._counts(sets).items()
        ]


def _moments(statistics: Statistics, label: int) -> Moments:
    rows = statistics[KeptFeatures].rows()
    sums = Moments(rows.shape[1], rows.device)
    sums.update(rows[(statistics[KeptLabels].labels() == label).to(rows.device)])
    return sums
