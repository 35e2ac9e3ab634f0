"""Images of noise in which one bright pixel is the class, features that are their pixels, and a scorer of both."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from gancli.data.source import Images, fingerprint
from gancli.data.spec import ImageSpec
from gancli.metrics.base import GENERATED
from gancli.metrics.features import Features
from gancli.metrics.registry import METRICS
from gancli.metrics.scorer import Scorer

CPU = torch.device("cpu")
CLASSES, SIZE = 5, 4
ELSEWHERE = ("modes",)  # of points: it is tested with them
DRAWN = {name: each for name, each in METRICS.items() if GENERATED in each.needs and name not in ELSEWHERE}
ALL = [*DRAWN]


class Looking(Features):
    """Pixels as features; logits by the brightest of the first five pixels, which make the class."""

    name, dim, classes = "looking", SIZE * SIZE, CLASSES

    def __init__(self) -> None:
        self.seen = 0

    def prepare(self, train, device) -> None: ...

    def protocol(self) -> dict[str, object]:
        return {"name": self.name}

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        self.seen += len(images)
        features = images.flatten(1).float() / 255
        return features, 10 * features[:, :CLASSES]


def drawn(n: int, seed: int, split: str = "test") -> Images:
    """Noise in which one pixel of five, the class, is bright."""
    random = np.random.RandomState(seed)
    pixels = random.randint(0, 120, (n, 1, SIZE, SIZE)).astype(np.uint8)
    labels = random.randint(0, CLASSES, n)
    pixels.reshape(n, -1)[np.arange(n), labels] = random.randint(200, 256, n)
    return Images(pixels, labels, ImageSpec(1, SIZE, SIZE, CLASSES), "noise", split, fingerprint(pixels, labels))


REAL, OTHERS = drawn(600, 0), {"train": drawn(700, 1, "train"), "validation": drawn(100, 2, "validation")}


def scorer(metrics: list[str] = ALL, reference: Images = REAL, n: int = 600, batch_size: int = 64, **more) -> Scorer:
    return Scorer(
        metrics, reference, Looking(), n=n, batch_size=batch_size, device=CPU, splits=OTHERS.__getitem__, **more
    )


def stream(images: Images, batch: int = 64) -> Iterator[tuple[Tensor, Tensor | None]]:
    for start in range(0, len(images), batch):
        rows = slice(start, start + batch)
        yield torch.from_numpy(images.pixels[rows]), torch.from_numpy(images.labels[rows])
