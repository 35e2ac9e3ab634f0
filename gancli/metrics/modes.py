"""How many modes of a mixture of Gaussians the generated points reach, and how well: the scoring of PacGAN.

Lin, Khetan, Fanti & Oh 2018, PacGAN, section 4.1, and its release (MetricLogger): 2,500 generated points; a point is of
high quality if its Mahalanobis distance to the nearest mode is below 3; a mode is covered if a point of high quality
is nearest to it. Points of the mixture itself: 1 - exp(-9/2) = 98.9 % of high quality in two dimensions, not 100 %.

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
    """How often each mode was the nearest, by all points and by those of high quality."""

    def __init__(self, about: SetInfo) -> None:
        self.all = torch.zeros(about.classes, dtype=torch.int64, device=about.device)
        self.good = torch.zeros_like(self.all)

    @classmethod
    def of(cls, about: SetInfo) -> Self:
        return cls(about)

    def add(self, batch: Batch) -> None:
        assert batch.logits is not None  # `network` asks for them
        logit, mode = batch.logits.max(1)
        self.all += mode.bincount(minlength=len(self.all))
        self.good += mode[logit > -0.5 * DEVIATIONS**2].bincount(minlength=len(self.good))


class Modes(Metric):
    """`modes`: how many are covered; `high_quality`: percent of the points; `reverse_kl`: of the histogram of modes.

    For the divergence, in nats, each point counts for its nearest mode, good or not, so that it is always defined: 0 if
    all modes are met equally often, as they are in the data, log K if one is. Of n points of the mixture itself it is
    about (K - 1) / 2n.
    """

    name = "modes"
    needs = {GENERATED: (NearestModes,), REAL: (NearestModes,)}
    values = {"modes": True, "high_quality": True, "reverse_kl": False}
    constants = {"modes_deviations": DEVIATIONS}

    def check(self, features: Features, reference: Images) -> None:
        if not isinstance(features, NearestMode):
            raise UsageError(
                f"metrics: modes needs data that is a mixture and features=modes, as data=grid25 has them, and got "
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
