"""What a set of training images is known by when a run is resumed: the images themselves, in their order."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gancli.data.access import AtAccess
from gancli.data.source import Images

_BYTES = 2**30  # of pixels that are read at most: a second or two
_CHUNK = 1024  # images
_SAMPLE = 64  # images of which the sample consists


def identity(images: Images) -> dict[str, Any]:
    """Return the number of images and the SHA-256 of shape, pixels, labels and class names, in their order.

    Twice: ``sha256`` of the images and ``sample`` of 64 of them; of images decoded whenever they are used the latter
    only, so that a run can go on where there is room to decode them once, or no longer.

    It does not depend on where the images lie: a folder that was moved or zipped is the same. Of more than 1 GiB, only
    evenly spaced images are read. What images are made of (sources, the digits that are stacked) counts as well. Of
    points the labels alone count: their coordinates are drawn, and processors round them differently.
    """
    parts = [part for part in (images, images.source, images.stacked) if part is not None]
    found = {"images": len(images), "sample": _digest(parts, lambda part: -(-len(part) // _SAMPLE), 1)}
    if any(isinstance(part.pixels, AtAccess) for part in parts):
        return found
    return {**found, "sha256": _digest(parts, lambda part: -(-part.pixels.nbytes // _BYTES), _CHUNK)}


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether two identities are those of the same images, as far as both say."""
    shared = one.keys() & other.keys()
    return len(shared) > 1 and all(one[key] == other[key] for key in shared)


def _digest(parts: Sequence[Images], step: Callable[[Images], int], chunk: int) -> str:
    """Return the SHA-256 of labels and of ``chunk`` pictures in each ``step`` times as many."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(repr((part.split, part.pixels.shape, part.class_names)).encode())
        if part.labels is not None:
            digest.update(np.ascontiguousarray(part.labels, "<i8").data)
        if not part.spec.points:
            apart = step(part)
            for start in range(0, len(part), chunk * apart):
                digest.update(np.ascontiguousarray(part.pixels[start : start + chunk * apart : apart]).data)
    return digest.hexdigest()
