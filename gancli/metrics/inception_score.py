"""Inception Score: Salimans et al. 2016, arXiv 1606.03498, section 4, as openai/improved-gan computes it."""

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor

from gancli.errors import UsageError
from gancli.metrics.base import GENERATED, Batch, Metric, SetInfo, Statistic, Statistics
from gancli.metrics.features import Features, Images

SPLITS = 10


class InceptionScore(Statistic):
    """Streaming computation of exp(E KL(p(y|x) || p(y))) from the sums of p(y|x) and p log p in each split.

    Split i holds the images [i n // splits, (i + 1) n // splits) in the order they are added, without shuffling.

    Args:
        n: number of images that will be added.
        classes: number of classes.
        device: device of the sums.
        splits: number of splits.

    Raises:
        UsageError: there are fewer images than splits.
    """

    def __init__(self, n: int, classes: int, device: torch.device | str = "cpu", splits: int = SPLITS) -> None:
        if n < splits:
            raise UsageError(
                f"the Inception Score needs n >= {splits} images ({splits} splits), got n={n}: use a larger n"
            )
        self.n, self.splits, self.seen = n, splits, 0
        self._p = torch.zeros(splits, classes, dtype=torch.float64, device=device)
        self._plogp = torch.zeros(splits, dtype=torch.float64, device=device)

    @classmethod
    def of(cls, about: SetInfo) -> Self:
        return cls(about.n, about.classes, about.device)

    def add(self, batch: Batch) -> None:
        assert batch.logits is not None  # requested by `network`
        self.update(batch.logits)

    def update(self, logits: Tensor) -> None:
        """Add the logits (N, classes) of the next N images. Raises ValueError beyond n images."""
        if self.seen + len(logits) > self.n:
            raise ValueError(f"more images were added than the {self.n} announced")
        log_p = logits.detach().to(self._p).log_softmax(1)  # float64, because p log p is NaN if p underflows
        p = log_p.exp()
        plogp = (p * log_p).sum(1)
        start = 0
        while start < len(logits):
            split = self._split_of(self.seen + start)
            stop = min(len(logits), (split + 1) * self.n // self.splits - self.seen)
            self._p[split] += p[start:stop].sum(0)
            self._plogp[split] += plogp[start:stop].sum()
            start = stop
        self.seen += len(logits)

    def result(self) -> tuple[float, float]:
        """Return mean and standard deviation (ddof 0) over the splits. Raises ValueError before n images."""
        if self.seen != self.n:
            raise ValueError(f"only {self.seen} of {self.n} images were added")
        bounds = torch.tensor([i * self.n // self.splits for i in range(self.splits + 1)], device=self._p.device)
        count = bounds.diff().double()  # (splits,)
        q = self._p / count[:, None]  # p(y) of each split
        scores = (self._plogp / count + torch.special.entr(q).sum(1)).exp()
        return scores.mean().item(), scores.std(correction=0).item()

    def _split_of(self, index: int) -> int:
        """Return the split i with i n // splits <= index < (i + 1) n // splits."""
        return ((index + 1) * self.splits - 1) // self.n


class IS(Metric):
    """Mean and standard deviation over 10 splits, from the class probabilities of the extractor."""

    name, least = "is", SPLITS
    needs = {GENERATED: (InceptionScore,)}
    values = {"is": True, "is_std": None}
    constants = {"is_splits": SPLITS}

    def check(self, features: Features, reference: Images) -> None:
        if features.classes < 2:
            raise UsageError(
                f"metrics: is needs class logits, but features={features.name} of {reference.name} "
                "have none: choose other metrics"
            )

    def __call__(self, sets: Mapping[str, Statistics]) -> dict[str, float]:
        return dict(zip(self.values, sets[GENERATED][InceptionScore].result(), strict=True))
