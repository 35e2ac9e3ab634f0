"""What a picture of ``data=shapes`` shows, measured on its pixels alone, and what a true translation would show."""

from dataclasses import dataclass, replace

import numpy as np

from gancli.data.shapes import COLOURS, SHAPES, Factors, coverage

PLACE = 2.0  # pixels that a shape may have moved and still be in its place
_PALE = 60  # spread of a pixel's channels, 0 .. 255, below which there is no colour
_FAINT = 0.4  # share of the strongest colour below which a pixel belongs to the ground
_CHUNK = 1000


@dataclass(frozen=True)
class Reading:
    """The estimates of N pictures."""

    colour: np.ndarray  # (N,) index into COLOURS, the nearest; -1: nothing in the picture has a colour
    shape: np.ndarray  # (N,) index into SHAPES, the best fit at that place and of that area
    x: np.ndarray  # (N,) pixels, the centre of the coloured area
    y: np.ndarray


def read(pixels: np.ndarray) -> Reading:
    """Find the coloured shape on its grey ground in each picture, (N, 3, H, W) uint8."""
    parts = [_read(pixels[start : start + _CHUNK].astype(float)) for start in range(0, len(pixels), _CHUNK)]
    return Reading(*(np.concatenate(each) for each in zip(*parts)))


def _read(pixels: np.ndarray) -> tuple[np.ndarray, ...]:
    spread = pixels.max(1) - pixels.min(1)  # (n, H, W): the ground is grey, so that this is the colour's share
    size = spread.shape[-1]
    top = np.sort(spread.reshape(len(spread), -1), 1)[:, -(size * size // 50) :].mean(1)  # the fiftieth: inside any
    share = np.clip(spread / np.maximum(top, 1)[:, None, None], 0, 1)
    share[share < _FAINT] = 0
    area = np.maximum(share.sum((1, 2)), 1e-9)  # of a grey picture nothing is left
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
    """Return what the true translations of one domain's pictures into another's show.

    None, unless one factor alone, shape or colour, has no value that both have, and the target has one of it.
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
    """Compare translations, (N, 3, H, W) uint8, with what they should show.

    Returns:
        Shares of right ``colour``, ``shape`` and ``place`` (within 2 pixels), and of ``all`` three.
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
