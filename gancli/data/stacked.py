"""Stacked MNIST: three digits as the red, green and blue of one image, 10 x 10 x 10 = 1000 modes.

Metz et al. 2017, Unrolled GANs, and Srivastava et al. 2017, VEEGAN: digits drawn at random and stacked. Training
samples new stacks for every batch; the fixed splits stack digits of the same split, 26,000 for test as in VEEGAN.

    gancli train model=dcgan data=stacked_mnist
"""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from gancli.data.source import SPLITS, Images, Source, whole
from gancli.errors import UsageError

COLOURS = 3


class Stacked(Source):
    """Three grey images of another source as the colours of one; the label is 100 r + 10 g + b for ten classes.

    - `source`: data set of grey, labelled images.
    - `n`: stacks per epoch, and of the fixed training split that metrics use. `n_test`: of validation and test.
    - `fresh`: sample new stacks for every training batch; False: train on the `n` fixed stacks.
    - `seed`: seed of the fixed stacks.

    Raises UsageError if the images are not grey or have no labels.
    """

    def __init__(
        self, source: Source, n: int = 60_000, n_test: int = 26_000, fresh: bool = True, seed: int = 0
    ) -> None:
        super().__init__(f"stacked_{source.name}", validation=0, seed=seed)
        test = whole("n_test", n_test, 1, 2**31)
        self.source, self.fresh = source, fresh
        self.n = {"train": whole("n", n, 1, 2**31), "validation": test, "test": test}
        self._there: dict[torch.device, tuple[Tensor, Tensor]] = {}  # the training digits, copied once

    def draw(self, n: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Sample n stacks of training images, (n, 3, H, W) uint8, and labels, (n,) int64, on the generator's device."""
        where = generator.device
        if where not in self._there:
            images = self._grey("train")
            self._classes = len(images.class_names)
            pixels, labels = (torch.from_numpy(np.array(part)).to(where) for part in (images.pixels, images.labels))
            self._there[where] = pixels, labels
        pixels, labels = self._there[where]
        rows = torch.randint(len(pixels), (COLOURS * n,), device=where, generator=generator)
        stacked = pixels.index_select(0, rows).unflatten(0, (n, COLOURS)).squeeze(2)
        return stacked, _number(labels.index_select(0, rows).view(n, COLOURS), self._classes)

    def notes(self) -> list[str]:
        return [*super().notes(), *(f"stacked from {line}" for line in self.source.notes())]

    def _load(self, split: str) -> dict[str, Images]:
        images = self._grey(split)
        assert images.labels is not None  # _grey has checked it
        classes = len(images.class_names)
        random = np.random.RandomState([self.seed, SPLITS.index(split)])
        # Concatenated permutations, so that every image is used about equally often in every colour.
        count = -(-self.n[split] // len(images))
        order = lambda: np.concatenate([random.permutation(len(images)) for _ in range(count)])  # noqa: E731
        rows = np.stack([order()[: self.n[split]] for _ in range(COLOURS)], 1)  # (n, 3)
        pixels = images.pixels[rows.ravel()].reshape(len(rows), COLOURS, *images.pixels.shape[2:])
        names = tuple("-".join(names) for names in product(images.class_names, repeat=COLOURS))
        stacked = self._images(split, pixels, _number(images.labels[rows], classes), names)
        fresh = self.draw if self.fresh and split == "train" else None
        return {split: replace(stacked, fresh=fresh, stacked=images)}

    def _grey(self, split: str) -> Images:
        images = self.source.split(split)
        if images.labels is None or images.spec.channels != 1:
            raise UsageError(f"{self.name}: {self.source.name} must be grey and labelled to be stacked, as mnist is")
        return images


def _number(labels: Any, classes: int) -> Any:
    """Combine three labels, (n, 3), into one, (n,): the digits of a number to the base ``classes``."""
    return (labels[:, 0] * classes + labels[:, 1]) * classes + labels[:, 2]
