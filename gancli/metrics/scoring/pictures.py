"""Scores existing image files against a data set."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from gancli.data import pictures
from gancli.data.source import Images
from gancli.errors import UsageError, counted
from gancli.metrics.scorer import Scorer
from gancli.metrics.scoring.base import Scoring, Settings, Subject
from gancli.metrics.scoring.samples import check_size, prepared_scorer


class Given(Subject):
    """Images of a file or a folder.

    Args:
        scorer: holds the metrics and the real images.
        settings: settings of the evaluation.
        images: the images.
        labels: their classes, (N,) int64, if they are numbered like those of the data.
    """

    shared = True

    def __init__(self, scorer: Scorer, settings: Settings, images: Images, labels: np.ndarray | None) -> None:
        super().__init__(scorer, settings, facts={"images": images.fingerprint})
        self.images, self.labels = images, labels

    def stream(self, model: None, seed: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        share = self.scorer.share()
        for batch, start in enumerate(range(0, self.scorer.n, self.settings.batch_size)):
            if share is not None and not share.has(batch):
                continue
            rows = slice(start, min(self.scorer.n, start + self.settings.batch_size))
            labels = None if self.labels is None else torch.from_numpy(self.labels[rows])
            yield torch.from_numpy(self.images.pixels[rows]), labels


class Pictures(Scoring):
    """The scoring of images without a model; ``what`` is their path."""

    def prepared(self, model: None) -> list[Subject]:
        settings = self.settings
        reference = settings.source.split(settings.split)
        images = pictures.read(self.what, reference)
        check_size(reference, images.spec.shape, f"{self.what} holds")
        if settings.n and settings.n > len(images):
            there = counted(len(images), "image")
            raise UsageError(f"n={settings.n}: {self.what} holds {there}: use fewer, or n=null for all of them")
        labels = pictures.labels_of(images, reference)
        scorer = prepared_scorer(settings, settings.n or len(images))
        scorer.check(None, self.what, labelled=labels is not None)
        return [Given(scorer, settings, images, labels)]
