"""Scores of a Laplacian pyramid of GANs: those of its samples, and those of its finest level on real coarse images.

Levels are trained on real coarse images, and samples stand on generated ones. How far the two scores are apart says
what the chain loses by that.
"""

import torch

from gancli.data.source import permutation
from gancli.data.spec import quantise, scaled
from gancli.metrics.registry import METRICS
from gancli.metrics.scorer import Scores, Stream
from gancli.metrics.scoring.base import Subject, scores
from gancli.metrics.scoring.samples import Drawn, Samples
from gancli.models.base import Model
from gancli.models.held_out import HeldOut
from gancli.models.lapgan import LAPGAN

PREFIX = "refined_"


class Refined(Drawn):
    """Samples of the chain, with the values ``refined_...`` of images that the finest level makes of real coarse ones.

    The coarse images are training images, so that none is half an image of the split that they are compared with.
    """

    def score(self, model: LAPGAN, *, seed: int, held_out: HeldOut | None = None, halves: int = 0) -> Scores:
        found = super().score(model, seed=seed, held_out=held_out, halves=halves)
        refined = self.scorer.score(self.refined(model, seed), None, shared=True)
        return found._replace(values=found.values | {PREFIX + key: value for key, value in refined.values.items()})

    @torch.no_grad()
    def refined(self, model: LAPGAN, seed: int) -> Stream:
        """Yield training images, (b, C, H, W) uint8, whose finest residual is generated, and their labels or None.

        Of several processes each has the batches of scorer.share().
        """
        share = self.scorer.share()
        train, last = self.settings.source.split("train"), len(model.names) - 1
        order = permutation(len(train), seed)
        generator = torch.Generator(model.device).manual_seed(seed)
        for batch, start in enumerate(range(0, self.scorer.n, self.settings.batch_size)):
            size = min(self.settings.batch_size, self.scorer.n - start)
            noise = model.noise(last, size, generator)
            if share is not None and not share.has(batch):
                continue
            rows = order[[(start + i) % len(order) for i in range(size)]]
            labels = None if train.labels is None else torch.from_numpy(train.labels[rows]).to(model.device)
            coarse = model.pyramid(scaled(torch.from_numpy(train.pixels[rows]).to(model.device)))[last - 1]
            label = labels if model.conditional else None
            yield quantise(model.level(last, noise, coarse, label)), label


@scores(LAPGAN)
class PyramidScoring(Samples):
    """As of any model; ``refined_fid`` is the FID of the finest level on real coarse images, and so on."""

    better = {
        PREFIX + key: higher
        for metric in METRICS.values()
        for key, higher in metric.values.items()
        if higher is not None
    }

    def prepared(self, model: Model) -> list[Subject]:
        return [
            Refined(each.scorer, each.settings, facts={**each.facts, "refined": "finest level, coarse images of train"})
            for each in super().prepared(model)
        ]
