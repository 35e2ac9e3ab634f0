"""How far a value would move with other images from the same source, told from the one set there is.

The bootstrap draws with replacement: its sets hold duplicates, which add the bias of a smaller sample to FID and make
distances to nearest neighbours zero. So halves are drawn without: the values of random halves of n images spread as
those of independent sets of n do (delete-d jackknife with d = n/2: Shao and Wu 1989, Ann. Statist. 17:1176), for values
that are smooth functions of means over images. The bias of few images is in the value as before; the interval lies
around the value, not around what infinitely many images would get, and the real images stay the same. Of a generator
as good as real images, where FID and IS change by squares, the deviation comes out up to twice too large.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import stdev

import numpy as np
import torch

from gancli.metrics.base import GENERATED, Batch, Metric, SetInfo, Statistics

SEED = 0
CHUNK = 1000  # images at a time
COUNTS = ("modes", "duplicate_rate")  # of distinct things: halves have half of them, and the spread says nothing


def deviations(
    metrics: Sequence[Metric],
    images: Batch,
    others: Mapping[str, Statistics],
    about: Callable[[int], SetInfo],
    draws: int,
) -> dict[str, float]:
    """Return the standard deviation of each value over sets of as many images as these.

    Args:
        metrics: those of them that look at generated images and can do with half of these are used.
        images: all of them, in their order.
        others: the statistics of the other sets.
        about: what a statistic of so many images is told.
        draws: random halves, two or more; 20 give the deviation to a sixth.
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
    shown = {key for key in found if key not in COUNTS and not key.endswith(("_std", "_se"))}
    return {key: stdev(values) for key, values in found.items() if key in shown and np.isfinite(values).all()}
