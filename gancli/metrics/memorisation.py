"""Memorisation of training images: AuthPct of Alaa et al. 2022, arXiv 2102.08921, section 4, and exact copies."""

from collections.abc import Mapping

import torch
from torch import Tensor

from gancli.metrics.base import GENERATED, TRAIN, Metric, Statistics
from gancli.metrics.kept import Hashes, KeptFeatures
from gancli.metrics.neighbours import squared


class Memorisation(Metric):
    """AuthPct in feature space; exact copies of training images and duplicates among generated images.

    - `auth_pct`: percentage of authentic images. A generated image is authentic if its nearest training image is
      closer to another training image than to it. The value of unseen real images depends on the near-duplicates in
      the data (83 for Gaussians), so compare it with the noise floor.
    - `copy_rate`: share of generated images that equal a training image.
    - `duplicate_rate`: share of generated images that repeat another one.
    """

    name = "memorisation"
    needs = {GENERATED: (KeptFeatures, Hashes), TRAIN: (KeptFeatures, Hashes)}
    values = {"auth_pct": True, "copy_rate": False, "duplicate_rate": False}

    def __call__(self, sets: Mapping[str, Statistics]) -> dict[str, float]:
        hashes, seen = sets[GENERATED][Hashes].hashes(), set(sets[TRAIN][Hashes].hashes())
        return {
            "auth_pct": auth_pct(sets[GENERATED][KeptFeatures].rows(), sets[TRAIN][KeptFeatures].rows()),
            "copy_rate": sum(each in seen for each in hashes) / len(hashes),
            "duplicate_rate": 1 - len(set(hashes)) / len(hashes),
        }


def auth_pct(generated: Tensor, train: Tensor) -> float:
    """Return the percentage of generated features (N, D) that are authentic given training features (M, D).

    A vector is authentic if its nearest training vector is closer to another training vector than to it.
    """
    nearest = [distances.min(1) for _, distances in squared(generated, train)]
    distance, index = torch.cat([each.values for each in nearest]), torch.cat([each.indices for each in nearest])
    asked, inverse = index.unique(return_inverse=True)  # only their neighbours are needed
    own = []
    for start, distances in squared(train[asked], train):
        rows = torch.arange(len(distances), device=train.device)
        distances[rows, asked[start + rows]] = torch.inf
        own.append(distances.min(1).values)
    return 100 * (distance > torch.cat(own)[inverse]).double().mean().item()
