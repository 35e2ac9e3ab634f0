"""Standard deviation of a score over sets of generated images, estimated from a single set by resampling.

The bootstrap samples with replacement; its duplicates add the bias of a smaller sample to FID and set distances to
nearest neighbours to zero. Random halves are therefore sampled without replacement: for scores that are smooth
functions of means over images, the scores of halves of n images vary like those of independent sets of n images
(delete-d jackknife with d = n/2: Shao and Wu 1989, Ann. Statist. 17:1176). The deviation describes the spread around
the score of n images, which keeps its bias, for fixed real images. If generated images are as good as real ones, where
FID and IS depend quadratically on the means, it is up to twice too large.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import stdev

import numpy as np
import torch

from gancli.metrics.base import GENERATED, Batch, Metric, SetInfo, Statistics
from gancli.structure import is_spread

SEED = 0
CHUNK = 1000  # images per call of Statistic.add()
COUNTS = ("modes", "duplicate_rate")  # counts of distinct things depend on n, so halves say nothing about them


def deviations(
    metrics: Sequence[Metric],
    images: Batch,
    others: Mapping[str, Statistics],
    about: Callable[[int], SetInfo],
    draws: int,
) -> dict[str, float]:
    """Return the standard deviation of each value over sets of the same number of generated images.

    Args:
        metrics: metrics to resample; those that use no generated images or need more than half of them are skipped.
        images: all generated images, in order.
        others: statistics of the other sets.
        about: returns the SetInfo of a set of n images.
        draws: number of random halves, two or more; 20 give the deviation within a sixth.
    """
    n = len(images.pixels)
    metrics = [each for each in metrics if GENERATED in each.needs and each.least <= n // 2]
    kinds = dict.fromkeys(kind for metric in metrics for kind in metric.needs[GENERATED])
    random = np.random.RandomState(SEED)
    found: dict[str, list[float]] = {}
    for _ in range(draws):
        rows = torch.from_numpy(np.sort(random.choice(n, n // 2, replace=False)))
        statistics = {kind: kind.of(about(n // 2)) for kind in kinds}
        for part in rows.split(CHUNK):
            batch = images.rows(part)
            for statistic in statistics.values():
                statistic.add(batch)
        for metric in metrics:
            for key, value in metric({**others, GENERATED: statistics}).items():
                found.setdefault(key, []).append(value)
    shown = {key for key in found if key not in COUNTS and not is_spread(key)}
    return {key: stdev(values) for key, values in found.items() if key in shown and np.isfinite(values).all()}
