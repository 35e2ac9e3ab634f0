"""Reduce images to fewer levels: k bits, or stochastic binarisation; or dequantise them."""

from dataclasses import replace
from typing import Literal, cast

import numpy as np

from gancli.data.access import AtAccess
from gancli.data.keys import typed
from gancli.data.source import SPLITS, Images, Source, fingerprint, whole
from gancli.errors import UsageError

_SEED = 0  # of the fixed binarisation; the same for all users, so that likelihoods are comparable
FIXED_DRAW = f"2 levels, drawn once with seed {_SEED}"  # not the static binarisation of Larochelle & Murray
_CHUNK = 1024  # images at a time


class Quantised(Source):
    """The images of another source with fewer levels, stored as bytes spread evenly over 0 .. 255.

    - ``bits``: levels are v >> (8 - bits), stored as round(255 level / (2^bits - 1)); 1 bit is a threshold at 128.
    - ``binarise=fixed_seed``: a pixel v becomes 255 with probability v / 255, sampled once with a fixed seed. This is
      not the static binarisation of Larochelle & Murray 2011 (see ``data=static_mnist``).
    - ``binarise=dynamic``: the loader binarises train anew at every access; validation and test are as in
      ``fixed_seed``.
    - ``dequantise=uniform``: the stored bytes are unchanged; models receive (level + u) / levels, scaled from [0, 1] to
      [-1, 1], with u uniform on [0, 1), sampled at every access (``data.spec.dequantised``). By Jensen's inequality,
      the mean log-density of these points is a lower bound on the log-probability of the level (Theis, van den Oord &
      Bethge 2016).

    Images that are already binary are not changed.

    Args:
        source: the data set.
        bits: 1 to 8.
        binarise: None, "dynamic" or "fixed_seed"; takes precedence over ``bits``.
        dequantise: None or "uniform"; excludes ``binarise``.

    Raises:
        UsageError: an argument is out of range, or both ``binarise`` and ``dequantise`` are given.
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
            raise UsageError(
                f"{typed('binarise')}={binarise!r}: allowed are dynamic, fixed_seed and null (as the data is)"
            )
        if dequantise not in (None, "uniform"):
            raise UsageError(f"{typed('dequantise')}={dequantise!r}: allowed are uniform and null (levels)")
        if dequantise and binarise:
            raise UsageError(
                f"{typed('dequantise')}={dequantise} and {typed('binarise')}={binarise} exclude each other: set one "
                "of them to null"
            )

    def notes(self) -> list[str]:
        return self.source.notes()

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
            return {split: images}  # no level to drop; binary data keeps its description
        if self.binarise is None:
            pixels, levels = _quantise(images.pixels, self.bits), 2**self.bits
            return {split: _with_pixels(images, pixels, levels, f"{levels} levels, the highest of 8 bits")}
        if split == "train" and self.binarise == "dynamic":
            spec = replace(images.spec, levels=2)
            return {split: replace(images, spec=spec, probabilities=True, levels="2 levels, drawn at every access")}
        return {split: binarized(replace(images, probabilities=True))}


def binarized(images: Images) -> Images:
    """Return the images, binarised with the fixed seed if their pixels are probabilities."""
    return _with_pixels(images, _draw(images), 2, FIXED_DRAW) if images.probabilities else images


def _with_pixels(images: Images, pixels: np.ndarray, levels: int, how: str) -> Images:
    return replace(
        images, pixels=pixels, spec=replace(images.spec, levels=levels), probabilities=False, levels=how,
        fingerprint=fingerprint(pixels, images.labels),
    )  # fmt: skip


def _quantise(pixels: np.ndarray, bits: int) -> np.ndarray:
    """Keep the highest ``bits`` of uint8 values and spread the levels over 0 .. 255."""
    top = 2**bits - 1
    table = np.round((np.arange(256) >> (8 - bits)) * (255 / top)).astype(np.uint8)
    if isinstance(pixels, AtAccess):
        return cast(np.ndarray, pixels.changed(lambda image: table[image], f"{bits} bits"))
    return table[pixels]


def _draw(images: Images) -> np.ndarray:
    """Sample 255 with probability pixel / 255, otherwise 0, with a fixed seed per split; uint8 in the same shape."""
    if isinstance(images.pixels, AtAccess):
        raise UsageError(
            f"{typed('binarise')}: all images of {images.split} are drawn once, and these are decoded whenever they "
            f"are used; add {typed('decode')}=once"
        )
    random = np.random.RandomState([_SEED, SPLITS.index(images.split)])
    pixels = np.empty(images.pixels.shape, np.uint8)
    for start in range(0, len(pixels), _CHUNK):
        part = images.pixels[start : start + _CHUNK]
        pixels[start : start + _CHUNK] = np.where(random.random_sample(part.shape) * 255 < part, 255, 0)
    return pixels
