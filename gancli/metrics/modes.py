"""Coverage of the modes of a Gaussian mixture, and quality of the points: Lin et al. 2018, PacGAN, section 4.1.

This follows the authors' code (MetricLogger), with 2,500 generated points. A point has high quality if its Mahalanobis
distance to the nearest mode is below 3; a mode is covered if it is the nearest mode of a point of high quality. In two
dimensions, 1 - exp(-9/2) = 98.9 % of the mixture's own points have high quality, not 100 %.

    gancli eval ckpt=latest 'metrics=[modes]'
"""

from collections.abc import Mapping
from typing import Any, Self

import torch

from gancli.errors import UsageError
from gancli.metrics.base import GENERATED, REAL, Batch, Metric, SetInfo, Statistic, Statistics
from gancli.metrics.class_balance import kl_uniform
from gancli.metrics.features import Features, Images
from gancli.metrics.points import NearestMode

DEVIATIONS = 3.0


class NearestModes(Statistic):
    """Numbers of points, and of points of high quality, that are nearest to each mode."""

    def __init__(self, about: SetInfo) -> None:
        self.all = torch.zeros(about.classes, dtype=torch.int64, device=about.device)
        self.good = torch.zeros_like(self.all)

    @classmethod
    def of(cls, about: SetInfo) -> Self:
        return cls(about)

    def add(self, batch: Batch) -> None:
        assert batch.logits is not None  # requested by `network`
        logit, mode = batch.logits.max(1)
        # Not by bincount, which waits for the device to learn the largest mode.
        self.all.index_add_(0, mode, torch.ones_like(mode))
        self.good.index_add_(0, mode, (logit > -0.5 * DEVIATIONS**2).long())


class Modes(Metric):
    """Scores of points by their nearest mode.

    - `modes`: number of covered modes.
    - `high_quality`: percentage of points of high quality.
    - `reverse_kl`: KL(generated || uniform) of the histogram of nearest modes, in nats. Points of any quality count, so
      that it is always defined: 0 if all K modes are equally frequent, as in the data, and log K if there is only one.
      Its expectation for n points of the mixture itself is about (K - 1) / 2n.
    """

    name = "modes"
    needs = {GENERATED: (NearestModes,), REAL: (NearestModes,)}
    values = {"modes": True, "high_quality": True, "reverse_kl": False}
    constants = {"modes_deviations": DEVIATIONS}

    def check(self, features: Features, reference: Images) -> None:
        if not isinstance(features, NearestMode):
            raise UsageError(
                f"metrics: modes needs a mixture of modes, such as data=grid25, and features=modes, but got "
                f"data={reference.name} with features={features.name}"
            )

    def details(self, sets: Mapping[str, Statistics]) -> dict[str, Any]:
        return {name: sets[name][NearestModes].good.tolist() for name in (GENERATED, REAL)}

    def __call__(self, sets: Mapping[str, Statistics]) -> dict[str, float]:
        found = sets[GENERATED][NearestModes]
        return {
            "modes": float((found.good > 0).sum()),
            "high_quality": 100 * found.good.sum().item() / found.all.sum().item(),
            "reverse_kl": kl_uniform(found.all),
        }
