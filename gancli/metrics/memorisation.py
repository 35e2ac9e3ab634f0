"""Whether the model repeats what it has seen: AuthPct of Alaa et al. 2022, arXiv 2102.08921, section 4, and copies."""

from collections.abc import Mapping

import torch
from torch import Tensor

from gancli.metrics.base import GENERATED, TRAIN, Metric, Statistics
from gancli.metrics.kept import Hashes, KeptFeatures
from gancli.metrics.neighbours import squared


class Memorisation(Metric):
    """AuthPct in features; and, pixel by pixel, copies of training images and duplicates among the generated ones.

    `auth_pct`, percent: a generated image is authentic if its nearest training image lies farther from it than from the
    next training image. Unseen real images get about as much as the data has of near-duplicates (83 for Gaussians), so
    see what real images get beside it.
    """

    name = "memorisation"
    needs = {GENERATED: (KeptFeatures, Hashes), TRAIN: (KeptFeatures, Hashes)}
    values = {"auth_pct": True, "copy_rate": False, "duplicate_rate": False}

    def __call__(self, sets: Mapping[str, Statistics]) -> dict[str, float]:
        hashes, seen = sets[GENERATED][Hashes].list, set(sets[TRAIN][Hashes].list)
        return {
            "auth_pct": auth_pct(sets[GENERATED][KeptFeatures].rows(), sets[TRAIN][KeptFeatures].rows()),
            "copy_rate": sum(each in seen for each in hashes) / len(hashes),
            "duplicate_rate": 1 - len(set(hashes)) / len(hashes),
        }


def auth_pct(generated: Tensor, train: Tensor) -> float:
    """Return the percentage of features (N, D) farther from their nearest of train (M, D) than that is from its own."""
    nearest = [distances.min(1) for _, distances in squared(generated, train)]
    distance, index = torch.cat([each.values for each in nearest]), torch.cat([each.indices for each in nearest])
    asked, inverse = index.unique(return_inverse=True)  # only these training images' own neighbours matter
    own = []
    for start, distances in squared(train[asked], train):
        rows = torch.arange(len(distances), device=train.device)
        distances[rows, asked[start + rows]] = torch.inf
        own.append(distances.min(1).values)
    return 100 * (distance > torch.cat(own)[inverse]).double().mean().item()
