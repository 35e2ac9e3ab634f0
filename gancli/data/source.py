"""What every data set gives: splits of uint8 images, with a validation part held out of train by seed."""

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Generator, Tensor

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError, did_you_mean

SPLITS = ("train", "validation", "test")
Draw = Callable[[int, Generator], tuple[Tensor, Tensor | None]]  # (n, generator) -> n images and their labels


class Modes(NamedTuple):
    """The normal distributions that points are drawn from, each as often as any other."""

    centres: np.ndarray  # (K, D) float32
    std: np.ndarray  # (K,) float32, the same in every direction


@dataclass(frozen=True)
class Images:
    """One split of one data set."""

    pixels: np.ndarray  # uint8 (N, C, H, W), an array in memory or a np.memmap; points: float32 (N, D, 1, 1)
    labels: np.ndarray | None  # int64 (N,), 0 .. num_classes-1
    spec: ImageSpec
    name: str  # "mnist"
    split: str  # "train" | "validation" | "test"
    fingerprint: str  # hex; same data, preprocessing and split -> same string
    class_names: tuple[str, ...] = ()
    levels: str = "256 levels"  # of a channel and how they came about, for the protocol of a likelihood
    probabilities: bool = False  # pixels / 255 are probabilities of ones, to be drawn at every access
    source: "Images | None" = None  # image-to-image: the pictures of the other domain, row by row if the spec is paired
    factors: Any = None  # what the pictures show, where that is known exactly: data=shapes
    # Draws n images (or points) and their labels on a generator's device; training then takes these, never `pixels`.
    fresh: Draw | None = None
    modes: Modes | None = None  # of points, where they have any
    stacked: "Images | None" = None  # the grey images that are the colours of these, each with a label of its own

    def __len__(self) -> int:
        return len(self.pixels)


class Source(ABC):
    """A data set and its preprocessing; reads nothing before the first ``split()``.

    Arguments that every source takes:

    - `size`: images become size x size pixels (antialiased bicubic, Pillow), once, before training; None: native size.
    - `channels`: 1 or 3. RGB becomes grey by ITU-R 601 luma, grey becomes RGB by repetition; None: as the data is.
    - `validation`: the part of train that is held out: a fraction below 1, or a number of images; 0: none.
    - `seed`: chooses the images held out, 0 .. 2^32-1. It is not the seed of the training run, so that runs with
      different seeds are scored on the same images.
    """

    flip = False  # mirror the pictures in training unless data.flip says otherwise

    def __init__(
        self,
        name: str,
        size: int | None = None,
        channels: int | None = None,
        validation: float = 0.05,
        seed: int = 0,
    ) -> None:
        self.name = name
        self.size = None if size is None else whole("size", size, 1, 65536)
        if channels not in (None, 1, 3):
            raise UsageError(f"data.channels={channels!r}: allowed are 1 (grey), 3 (RGB) and null (as the data is)")
        self.channels = channels
        self.validation = amount("validation", validation)
        self.seed = whole("seed", seed, 0, 2**32 - 1)
        self._splits: dict[str, Images] = {}

    def split(self, split: str) -> Images:
        """Read ``train``, ``validation`` or ``test``; a second call returns the same object.

        Raises UsageError when there is no such split, the data is not there, or it cannot be read.
        """
        if split not in SPLITS:
            raise UsageError(f"split={split!r}: allowed are {', '.join(SPLITS)}{did_you_mean(split, SPLITS)}")
        if split not in self._splits:
            self._splits.update(self._load(split))
        if split in self._splits:
            return self._splits[split]
        have = ", ".join(name for name in SPLITS if name in self._splits)
        hint = {"validation": "data.validation=0.05", "test": "data.test=0.1"}.get(split, "less held out")
        raise UsageError(f"data={self.name} has no {split} split, only {have}; hold a part of train out with {hint}")

    def training(self) -> Images:
        """Return the pictures to train on, which may be larger than the spec says: then they are cropped at random."""
        return self.split("train")

    @abstractmethod
    def _load(self, split: str) -> dict[str, Images]:
        """Return `split` (when it exists) and whatever else was read along with it."""

    def _images(
        self, split: str, pixels: np.ndarray, labels: np.ndarray | None, class_names: tuple[str, ...]
    ) -> Images:
        """One split from arrays in memory, fingerprinted by its bytes."""
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
        """Hold the validation part out of the arrays of the full training set."""
        held, kept = hold_out(len(pixels), self.validation, self.seed, "validation")
        if len(held) == 0:
            return {"train": self._images("train", pixels, labels, class_names)}
        # One reordered copy and two views of it: both splits stay plain, contiguous arrays.
        order = np.concatenate([kept, held])
        pixels, labels = pixels[order], None if labels is None else labels[order]
        bounds = {"train": slice(0, len(kept)), "validation": slice(len(kept), None)}
        return {
            split: self._images(split, pixels[part], None if labels is None else labels[part], class_names)
            for split, part in bounds.items()
        }


def hold_out(n: int, part: float, seed: int, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Split 0 .. n-1 into (held out, kept), both sorted; `part` is a fraction below 1 or a count.

    A smaller part is a subset of a larger one of the same seed. Raises UsageError when nothing would be kept.
    """
    count = held_count(n, part, key)
    order = permutation(n, seed)
    return np.sort(order[:count]), np.sort(order[count:])


def held_count(n: int, part: float, key: str) -> int:
    """How many of n images `part` is: a fraction gives at least one image when there are two, and leaves one."""
    if isinstance(part, float):
        return min(max(1, round(part * n)), n - 1) if part > 0 and n > 0 else 0
    if part >= n > 0:
        raise UsageError(f"data.{key}={part}: only {n} images to hold out from; take fewer, or data.{key}=0.05")
    return part


def permutation(n: int, seed: int) -> np.ndarray:
    """A fixed permutation of 0 .. n-1. RandomState is frozen by NumPy's policy; Generator streams may change."""
    return np.random.RandomState(seed).permutation(n)


def fingerprint(pixels: np.ndarray, labels: np.ndarray | None) -> str:
    """SHA-256 over shape, pixels and labels, hex."""
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    if labels is not None:
        digest.update(b"labels")
        digest.update(np.ascontiguousarray(labels, dtype="<i8").data)
    return digest.hexdigest()


def amount(key: str, value: float) -> float | int:
    """A part to hold out: a float in [0, 1) or an int >= 0."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or value < 0 or (isinstance(value, float) and not value < 1):
        raise UsageError(
            f"data.{key}={value!r}: allowed are a fraction in [0, 1) and a whole number of images, e.g. data.{key}=0.05"
        )
    return value


def whole(key: str, value: int, low: int, high: int) -> int:
    """An int in [low, high]."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise UsageError(f"data.{key}={value!r}: allowed is a whole number from {low} to {high}")
    return value


def folder(path: str) -> Path:
    """`path` with ~ expanded, absolute."""
    return Path(os.path.expanduser(path)).absolute()
