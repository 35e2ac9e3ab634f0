"""The interface of data sets: splits of uint8 images, with a validation split held out of train by seed."""

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from torch import Generator, Tensor

from gancli.data.keys import chosen, prefix, typed, within
from gancli.data.spec import ImageSpec, described
from gancli.errors import UsageError, counted, did_you_mean
from gancli.files import shown

SPLITS = ("train", "validation", "test")
Draw = Callable[[int, Generator], tuple[Tensor, Tensor | None]]  # (n, generator) -> n images and their labels


class Modes(NamedTuple):
    """The components of a mixture of isotropic normal distributions with equal weights."""

    centres: np.ndarray  # (K, D) float32
    std: np.ndarray  # (K,) float32, standard deviations


@dataclass(frozen=True)
class Images:
    """One split of a data set."""

    # (N, C, H, W) uint8: in memory, a np.memmap, or an AtAccess, which decodes what is asked for; points: (N, D, 1, 1)
    # float32
    pixels: np.ndarray
    labels: np.ndarray | None  # (N,) int64, 0 .. num_classes-1
    spec: ImageSpec
    name: str  # "mnist"
    split: str  # "train" | "validation" | "test"
    fingerprint: str  # hex; equal for the same data, preprocessing and split
    class_names: tuple[str, ...] = ()
    levels: str = "256 levels"  # per channel, and how they were obtained; reported with likelihoods
    probabilities: bool = False  # pixels / 255 are probabilities of ones, sampled at every access
    source: "Images | None" = None  # image-to-image: the other domain, in the same order if spec.paired
    factors: Any = None  # ground-truth factors of the pictures, if known: data=shapes
    # Samples images or points and their labels on the generator's device; training uses these instead of `pixels`.
    fresh: Draw | None = None
    modes: Modes | None = None  # of points drawn from a mixture
    stacked: "Images | None" = None  # the labelled grey images that are the colours of stacked ones

    def __len__(self) -> int:
        return len(self.pixels)


class Source(ABC):
    """A data set and its preprocessing. Nothing is read before the first call of ``split()``.

    Arguments common to all sources:

    - `size`: height and width that images are resized to, before training (antialiased bicubic); None: native size.
    - `channels`: 1 or 3. RGB is converted to grey by ITU-R 601 luma, grey to RGB by repetition; None: unchanged.
    - `validation`: training images to hold out, a fraction below 1 or a number; 0: none.
    - `seed`: seed of the held-out images, 0 .. 2^32-1. It differs from the seed of the training run, so that runs
      with different seeds are evaluated on the same images.
    """

    points: ClassVar[bool] = False  # its items are points, not images
    flip = False  # default of data.flip: mirror training images at random

    def __init__(
        self,
        name: str,
        size: int | None = None,
        channels: int | None = None,
        validation: int | float = 0.05,
        seed: int = 0,
    ) -> None:
        self.name, self.prefix = name, prefix()
        self.size = None if size is None else whole("size", size, 1, 65536)
        if channels not in (None, 1, 3):
            raise UsageError(
                f"{typed('channels')}={channels!r}: allowed are 1 (grey), 3 (RGB) and null (as the data is)"
            )
        self.channels = channels
        self.validation = amount("validation", validation)
        self.seed = whole("seed", seed, 0, 2**32 - 1)
        self._splits: dict[str, Images] = {}
        self._notes: list[str] = []  # how files were read

    def split(self, split: str) -> Images:
        """Return the split ``train``, ``validation`` or ``test``; repeated calls return the same object.

        Raises UsageError if the split does not exist, or the data is missing or cannot be read.
        """
        if split not in SPLITS:
            raise UsageError(f"split={split!r}: allowed are {', '.join(SPLITS)}{did_you_mean(split, SPLITS)}")
        with within(self.prefix):
            if split not in self._splits:
                self._splits.update(self._load(split))
            if split in self._splits:
                return self._splits[split]
            have = ", ".join(name for name in SPLITS if name in self._splits)
            train = self._splits.get("train", ())
            if len(train) == 1:
                raise UsageError(
                    f"{chosen(self.name)} has no {split} split, only {have} of 1 image, of which none can be held out; "
                    "add images, or use split=train (eval.split=train in training)"
                )
            hint = {"validation": f"{typed('validation')}=0.05", "test": f"{typed('test')}=0.1"}.get(
                split, "less held out"
            )
            raise UsageError(
                f"{chosen(self.name)} has no {split} split, only {have}; hold out a part of train with {hint}"
            )

    def training(self) -> Images:
        """Return the training images, which may be larger than their spec: the loader then crops them at random."""
        return self.split("train")

    def notes(self) -> list[str]:
        """Return lines for the log that say what was read: images of each split so far, classes, and how of files."""
        if not self._splits:
            return []
        images = next(iter(self._splits.values()))
        counts = ", ".join(f"{len(self._splits[name]):,} {name}" for name in SPLITS if name in self._splits)
        shape = "points" if images.spec.points else f"images of {described(images.spec.shape)}"
        with within(self.prefix):
            name = chosen(self.name)
        line = f"{name}: {counts} {shape}"
        return [line, *_class_counts(self._splits.get("train", images)), *self._notes]

    @abstractmethod
    def _load(self, split: str) -> dict[str, Images]:
        """Return `split`, if it exists, and any other splits that were read along with it."""

    def _images(
        self, split: str, pixels: np.ndarray, labels: np.ndarray | None, class_names: tuple[str, ...]
    ) -> Images:
        """Return a split made of arrays in memory, with a fingerprint of their bytes."""
        channels, height, width = pixels.shape[1:]
        num_classes = 0 if labels is None else len(class_names)
        return Images(
            pixels=pixels,
            labels=labels,
            spec=ImageSpec(channels, height, width, num_classes),
            name=self.name,
            split=split,
            fingerprint=fingerprint(pixels, labels),
            class_names=() if labels is None else class_names,
        )

    def _train_and_validation(
        self, pixels: np.ndarray, labels: np.ndarray | None, class_names: tuple[str, ...]
    ) -> dict[str, Images]:
        """Divide the arrays of the full training set into train and validation."""
        held, kept = hold_out(len(pixels), self.validation, self.seed, "validation")
        if len(held) == 0:
            return {"train": self._images("train", pixels, labels, class_names)}
        # One reordered copy with two views, so that both splits are contiguous arrays.
        order = np.concatenate([kept, held])
        pixels, labels = pixels[order], None if labels is None else labels[order]
        bounds = {"train": slice(0, len(kept)), "validation": slice(len(kept), None)}
        return {
            split: self._images(split, pixels[part], None if labels is None else labels[part], class_names)
            for split, part in bounds.items()
        }


def _class_counts(images: Images) -> list[str]:
    """Return how many images of a split each class has: all of up to ten classes, else the fewest and the most."""
    names = images.class_names
    if images.labels is None or not names:
        return []
    counts = np.bincount(images.labels, minlength=len(names))
    order = range(len(names)) if len(names) <= 10 else [int(counts.argmin()), int(counts.argmax())]
    each = (", " if len(names) <= 10 else " to ").join(f"{shown(names[i])} {counts[i]:,}" for i in order)
    return [f"{len(names):,} classes, images of {images.split}: {each}"]


def hold_out(n: int, part: float, seed: int, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Split 0 .. n-1 into (held out, kept), both sorted; `part` is a fraction below 1 or a count.

    For the same seed, a smaller part is a subset of a larger one. Raises UsageError if nothing would be kept.
    """
    count = held_count(n, part, key)
    order = permutation(n, seed)
    return np.sort(order[:count]), np.sort(order[count:])


def held_count(n: int, part: float, key: str) -> int:
    """Return the number of held-out images of n; a fraction above 0 holds out and leaves at least one if n > 1."""
    if isinstance(part, float):
        return min(max(1, round(part * n)), n - 1) if part > 0 and n > 0 else 0
    if part >= n > 0:
        raise UsageError(
            f"{typed(key)}={part}: only {counted(n, 'image')} to hold out from; take fewer, or {typed(key)}=0.05"
        )
    return part


def permutation(n: int, seed: int) -> np.ndarray:
    """Return a permutation of 0 .. n-1. NumPy guarantees the stream of RandomState, not that of Generator."""
    return np.random.RandomState(seed).permutation(n)


def stratified(labels: np.ndarray, seed: int) -> np.ndarray:
    """Return a permutation of 0 .. n-1, each prefix of which has the classes in the proportions of ``labels``, (n,).

    Proportions are kept to one image of each class. One image of each class comes last: a prefix that leaves at least
    as many images as there are classes leaves some of each.
    """
    order = permutation(len(labels), seed)
    _, classes, sizes = np.unique(labels[order], return_inverse=True, return_counts=True)
    by_class = np.argsort(classes, kind="stable")
    rank = np.empty(len(order), np.int64)  # among those of its class
    rank[by_class] = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    size = sizes[classes]
    share = (rank + 0.5) / size + (rank == size - 1)
    return order[np.argsort(share, kind="stable")]


def fingerprint(pixels: np.ndarray, labels: np.ndarray | None) -> str:
    """Return the SHA-256 of shape, pixels and labels, in hex; of pixels decoded at access, that of their files."""
    digest = hashlib.sha256(repr(pixels.shape).encode())
    if isinstance(pixels, np.ndarray):
        digest.update(np.ascontiguousarray(pixels).data)
    else:
        digest.update(pixels.digest())
    if labels is not None:
        digest.update(b"labels")
        digest.update(np.ascontiguousarray(labels, dtype="<i8").data)
    return digest.hexdigest()


def amount(key: str, value: float) -> float | int:
    """Return ``value`` if it is a float in [0, 1) or an int >= 0, otherwise raise UsageError."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or value < 0 or (isinstance(value, float) and not value < 1):
        raise UsageError(
            f"{typed(key)}={value!r}: allowed are a fraction in [0, 1) and a whole number of images, e.g. "
            f"{typed(key)}=0.05"
        )
    return value


def whole(key: str, value: int, low: int, high: int) -> int:
    """Return ``value`` if it is an int in [low, high], otherwise raise UsageError."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise UsageError(f"{typed(key)}={value!r}: allowed is a whole number from {low} to {high}")
    return value


def folder(path: str) -> Path:
    """Return the absolute path, with ~ expanded."""
    return Path(os.path.expanduser(path)).absolute()
