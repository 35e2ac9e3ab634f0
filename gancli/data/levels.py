"""Data of fewer levels, k bits or binary images whose ones are drawn with the pixels' probabilities; or of none."""

from dataclasses import replace
from typing import Literal

import numpy as np

from gancli.data.source import SPLITS, Images, Source, fingerprint, whole
from gancli.errors import UsageError

_SEED = 0  # of the fixed draws: the same for everybody, or their likelihoods could not be compared
FIXED_DRAW = f"2 levels, drawn once with seed {_SEED}"  # named, for it is not the set of Larochelle & Murray
_CHUNK = 1024  # images at a time


class Quantised(Source):
    """Another source's images with fewer levels, as bytes spread evenly over 0 .. 255, in memory.

    - ``bits``: levels are v >> (8 - bits), shown as round(255 level / (2^bits - 1)); 1 bit is a threshold at 128.
    - ``binarise=fixed_seed``: a pixel v is 255 with probability v / 255, drawn once, with one seed for all. It is not
      the static binarisation of Larochelle & Murray 2011, whose files were drawn elsewhere.
    - ``binarise=dynamic``: train is drawn anew at every access, by the loader; validation and test as ``fixed_seed``.
    - ``dequantise=uniform``: the bytes stay; models are given (level + u) / levels on [0, 1] with u uniform on [0, 1),
      drawn at every access (``data.spec.dequantised``). For densities: by Jensen's inequality the mean log density of
      those points bounds the log-probability of the level from below (Theis, van den Oord & Bethge 2016).

    Data that is binary already stays as it is.

    Args:
        source: where the images come from.
        bits: 1 to 8.
        binarise: None, dynamic or fixed_seed; takes precedence over bits.
        dequantise: None or uniform; not of binarised data.

    Raises:
        UsageError: other values.
    """

    def __init__(
        self,
        source: Source,
        bits: int = 8,
        binarise: Literal["dynamic", "fixed_seed"] | None = None,
        dequantise: Literal["uniform"] | None = None,
    ) -> None:
        super().__init__(source.name, validation=0)
        self.source, self.bits, self.binarise = source, whole("bits", bits, 1, 8), binarise
        self.dequantise = dequantise
        if binarise not in (None, "dynamic", "fixed_seed"):
            raise UsageError(f"data.binarise={binarise!r}: allowed are dynamic, fixed_seed and null (as the data is)")
        if dequantise not in (None, "uniform"):
            raise UsageError(f"data.dequantise={dequantise!r}: allowed are uniform and null (levels)")
        if dequantise and binarise:
            raise UsageError(f"data.dequantise={dequantise} and data.binarise={binarise}: one of them, the other null")

    def _load(self, split: str) -> dict[str, Images]:
        found = self._fewer(split)
        if not self.dequantise:
            return found
        images = found[split]
        spec = replace(images.spec, dequantised=True)
        return {split: replace(images, spec=spec, levels=f"{images.levels}, uniformly dequantised")}

    def _fewer(self, split: str) -> dict[str, Images]:
        images = self.source.split(split)
        if images.spec.levels == 2 or (self.bits == 8 and self.binarise is None):
            return {split: images}  # nothing is left to draw or to drop; what is binary keeps its name
        if self.binarise is None:
            pixels, levels = _quantise(images.pixels, self.bits), 2**self.bits
            return {split: _with_pixels(images, pixels, levels, f"{levels} levels, the highest of 8 bits")}
        if split == "train" and self.binarise == "dynamic":
            spec = replace(images.spec, levels=2)
            return {split: replace(images, spec=spec, probabilities=True, levels="2 levels, drawn at every access")}
        return {split: binarized(replace(images, probabilities=True))}


def binarized(images: Images) -> Images:
    """Return the images as they are, or one fixed draw where their pixels are probabilities."""
    return _with_pixels(images, _draw(images), 2, FIXED_DRAW) if images.probabilities else images


def _with_pixels(images: Images, pixels: np.ndarray, levels: int, how: str) -> Images:
    return replace(
        images, pixels=pixels, spec=replace(images.spec, levels=levels), probabilities=False, levels=how,
        fingerprint=fingerprint(pixels, images.labels),
    )  # fmt: skip


def _quantise(pixels: np.ndarray, bits: int) -> np.ndarray:
    """Drop the lower bits of uint8 values and spread the rest over 0 .. 255."""
    top = 2**bits - 1
    table = np.round((np.arange(256) >> (8 - bits)) * (255 / top)).astype(np.uint8)
    return table[pixels]


def _draw(images: Images) -> np.ndarray:
    """Draw 0 or 255 with probability pixel / 255, by a fixed seed per split: uint8 like the pixels."""
    random = np.random.RandomState([_SEED, SPLITS.index(images.split)])
    pixels = np.empty(images.pixels.shape, np.uint8)
    for start in range(0, len(pixels), _CHUNK):
        part = images.pixels[start : start + _CHUNK]
        pixels[start : start + _CHUNK] = np.where(random.random_sample(part.shape) * 255 < part, 255, 0)
    return pixels
