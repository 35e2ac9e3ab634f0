"""Estimate the factors of ``data=shapes`` pictures from their pixels, and compare translations with the truth."""

from dataclasses import dataclass, replace

import numpy as np

from gancli.data.shapes import COLOURS, SHAPES, Factors, coverage

PLACE = 2.0  # pixels; largest displacement that counts as unchanged
_PALE = 60  # largest channel minus smallest, 0 .. 255, below which a pixel counts as grey
_FAINT = 0.4  # fraction of the strongest colour below which a pixel counts as ground
_CHUNK = 1000


@dataclass(frozen=True)
class Reading:
    """Estimated factors of N pictures."""

    colour: np.ndarray  # (N,) index of the nearest of COLOURS; -1: the picture is grey
    shape: np.ndarray  # (N,) index of the best-fitting of SHAPES at the estimated centre and area
    x: np.ndarray  # (N,) pixels, centre of the coloured area
    y: np.ndarray


def read(pixels: np.ndarray) -> Reading:
    """Estimate the coloured shape on the grey ground of each picture, (N, 3, H, W) uint8."""
    parts = [_read(pixels[start : start + _CHUNK].astype(float)) for start in range(0, len(pixels), _CHUNK)]
    return Reading(*(np.concatenate(each) for each in zip(*parts)))


def _read(pixels: np.ndarray) -> tuple[np.ndarray, ...]:
    spread = pixels.max(1) - pixels.min(1)  # (n, H, W): the ground is grey, so that this is the colour's share
    size = spread.shape[-1]
    top = np.sort(spread.reshape(len(spread), -1), 1)[:, -(size * size // 50) :].mean(1)  # the fiftieth: inside any
    share = np.clip(spread / np.maximum(top, 1)[:, None, None], 0, 1)
    share[share < _FAINT] = 0
    area = np.maximum(share.sum((1, 2)), 1e-9)  # not zero for grey pictures
    at = np.arange(size) + 0.5
    x, y = (share.sum(1) * at).sum(1) / area, (share.sum(2) * at).sum(1) / area
    inner = (share > 0.8)[:, None]
    mean = (pixels * inner).sum((2, 3)) / np.maximum(inner.sum((2, 3)), 1)
    far = np.linalg.norm(mean[:, None] - np.array(list(COLOURS.values()))[None], axis=2)  # (n, colours)
    colour = np.where(top < _PALE, -1, far.argmin(1))
    radius = np.sqrt(area / np.pi)
    kinds = [coverage(np.full(len(x), kind), x, y, radius, size) for kind in range(len(SHAPES))]
    misfit = [np.square(share - kind * (kind >= _FAINT)).sum((1, 2)) for kind in kinds]
    return colour, np.argmin(misfit, 0), x, y


def counterfactual(source: Factors, target: Factors) -> Factors | None:
    """Return the factors of the true translations of ``source`` pictures into the ``target`` domain.

    Returns None unless the domains are disjoint in exactly one factor, shape or colour, of which the target has a
    single value.
    """
    values = {
        name: [np.unique(getattr(f, name).reshape(len(f), -1), axis=0) for f in (source, target)]
        for name in ("shape", "colour")
    }
    differing = [name for name, (ours, theirs) in values.items() if not (ours[:, None] == theirs).all(-1).any()]
    if len(differing) != 1 or len(values[differing[0]][1]) != 1:
        return None
    shape = getattr(source, differing[0]).shape
    return replace(source, **{differing[0]: values[differing[0]][1].repeat(len(source), 0).reshape(shape)})


def verdict(pixels: np.ndarray, truth: Factors) -> dict[str, float]:
    """Compare translations, (N, 3, H, W) uint8, with their true factors.

    Returns:
        The fractions with the right ``colour``, ``shape`` and ``place`` (within 2 pixels), and with ``all`` three.
    """
    found = read(pixels)
    colours = [tuple(value) for value in COLOURS.values()]
    right = {
        "colour": found.colour == np.array([colours.index(tuple(value)) for value in truth.colour.astype(int)]),
        "shape": found.shape == truth.shape,
        "place": np.hypot(found.x - truth.x, found.y - truth.y) <= PLACE,
    }
    right["all"] = right["colour"] & right["shape"] & right["place"]
    return {name: float(each.mean()) for name, each in right.items()}
