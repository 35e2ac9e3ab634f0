"""Path length in the latent space of a style-based model, by the features of the evaluation.

Karras et al. 2019, A Style-Based Generator Architecture for GANs, section 4.1: the mean of d(G(t), G(t + eps)) / eps^2
over paths between two latents, with eps = 1e-4 and d the squared distance of features. As in the authors' code, values
below the 1st and above the 99th percentile are left out, and the noise of the layers is constant.

The paper's perceptual path length has d = LPIPS, distances of VGG features. This metric has the features that FID has
in the same evaluation (``features=``), so that its values compare with those of the same features alone, and are none
of the paper's.

    gancli eval ckpt=latest 'metrics=[path_length]'
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Self

import numpy as np
import torch
from torch import Tensor

from gancli.metrics.base import PATHS, Batch, Metric, SetInfo, Statistic, Statistics
from gancli.metrics.features import Features, exact
from gancli.models.paths import STEP

CUT = (1.0, 99.0)  # percentiles


class Lengths(Statistic):
    """The squared distance over eps^2 of every step, by the kind of path: 8 bytes for each."""

    def __init__(self) -> None:
        self.parts: dict[str, list[Tensor]] = {}

    @classmethod
    def of(cls, about: SetInfo) -> Self:
        return cls()

    def add(self, batch: Batch) -> None:
        assert batch.steps is not None, "the set PATHS has steps"
        for kind, squared in batch.steps.items():
            self.parts.setdefault(kind, []).append(squared / STEP**2)


class PathLength(Metric):
    """Path lengths in W and in Z, of steps anywhere on the paths and of steps at their ends."""

    name = "path_length"
    needs = {PATHS: (Lengths,)}
    values = {"path_length_w": False, "path_length_w_end": False, "path_length_z": False, "path_length_z_end": False}
    constants = {"path_length_step": STEP, "path_length_percentiles": list(CUT)}

    def __call__(self, sets: Mapping[str, Statistics]) -> dict[str, float]:
        parts = sets[PATHS][Lengths].parts
        return {f"{self.name}_{kind}": trimmed(torch.cat(each).cpu().numpy()) for kind, each in parts.items()}


def measured(walk: Iterable[Mapping[str, tuple[Tensor, Tensor]]], features: Features) -> Iterator[Batch]:
    """Yield batches with the squared distances of features, (b,) float64, before and after a step of each kind.

    Args:
        walk: images (b, C, H, W) around [-1, 1] before and after, see models.paths.steps(). They are neither rounded
            nor clamped, as steps are far smaller than a level.
        features: prepared.
    """
    batches = iter(walk)
    while True:
        with exact():  # the drawing, too: TF32 would round steps away
            each = next(batches, None)
            if each is None:
                return
            found = {}
            for kind, images in each.items():
                before, after = (features((image + 1) * 127.5)[0].double() for image in images)
                found[kind] = (after - before).square().sum(1)
        yield Batch(images[0], None, None, None, steps=found)


def trimmed(values: np.ndarray) -> float:
    """Return the mean of the values, (N,), from the 1st to the 99th percentile, both of which are themselves values."""
    low, high = np.percentile(values, CUT[0], method="lower"), np.percentile(values, CUT[1], method="higher")
    return float(values[(low <= values) & (values <= high)].mean())
