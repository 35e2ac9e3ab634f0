"""Pairs of edge maps and pictures, computed from any data set, for translation from drawings to pictures.

gancli train model=pix2pix data=edges data/of=shapes
"""

from dataclasses import replace

import numpy as np

from gancli.data import keys
from gancli.data.source import Images, Source, fingerprint
from gancli.data.spec import ImageSpec
from gancli.errors import UsageError

_CHUNK = 1000


class Edges(Source):
    """The pictures of another data set, each with its edge map as the source: 255 on an edge, 0 elsewhere.

    - `of`: the data set.
    - `threshold`: smallest gradient magnitude of an edge, in grey levels (0 .. 255) per pixel; positive.

    Raises UsageError if `of` is missing or `threshold` is not positive.
    """

    def __init__(self, of: Source | None = None, threshold: float = 40.0) -> None:
        super().__init__("edges", validation=0)
        if of is None:
            with keys.within(keys.typed("of")):
                example = keys.chosen("shapes")
            raise UsageError(
                f"{keys.chosen('edges')} computes the edges of another data set: choose one, e.g. {example}"
            )
        if threshold <= 0:
            raise UsageError(f"{keys.typed('threshold')}={threshold}: allowed are numbers above 0, such as 40")
        self.of, self.threshold = of, threshold

    def notes(self) -> list[str]:
        return self.of.notes()

    def _load(self, split: str) -> dict[str, Images]:
        images = self.of.split(split)
        drawn = [edges(images.pixels[i : i + _CHUNK], self.threshold) for i in range(0, len(images), _CHUNK)]
        pixels = np.concatenate(drawn)
        spec = ImageSpec(1, *pixels.shape[2:])
        source = Images(pixels, None, spec, f"edges of {images.name}", images.split, fingerprint(pixels, None))
        return {split: replace(images, source=source, spec=replace(images.spec, source_channels=1, paired=True))}


def edges(pixels: np.ndarray, threshold: float) -> np.ndarray:
    """Return edge maps, (N, 1, H, W) uint8 of 0 and 255, of images (N, C, H, W) uint8.

    A pixel is an edge if the magnitude of the gradient (central differences) reaches ``threshold`` in any channel.
    """
    values = np.pad(pixels.astype(np.float32), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    across = (values[..., 1:-1, 2:] - values[..., 1:-1, :-2]) / 2
    down = (values[..., 2:, 1:-1] - values[..., :-2, 1:-1]) / 2
    steepest = np.hypot(across, down).max(1, keepdims=True)
    return np.where(steepest >= threshold, 255, 0).astype(np.uint8)
