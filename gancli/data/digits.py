"""scikit-learn's 1,797 scans of handwritten digits, 8 x 8 grey: the embedded default, no download needed."""

import numpy as np

from gancli.data.pixels import fit
from gancli.data.source import Images, Source, permutation

_TEST_SEED = 0  # the test part never depends on the user's seeds


class Digits(Source):
    """`sklearn.datasets.load_digits` (UCI "Optical Recognition of Handwritten Digits", its 1,797 test scans).

    Values 0 .. 16 become uint8 by round(v * 255 / 16). 20 % of every class is the test split, always the same
    images (scikit-learn ships no split of its own); the rest is train, less the validation part.
    Arguments as in `Source`.
    """

    def __init__(
        self,
        size: int | None = None,
        channels: int | None = None,
        validation: float = 0.05,
        seed: int = 0,
    ) -> None:
        super().__init__("digits", size, channels, validation, seed)

    def _load(self, split: str) -> dict[str, Images]:
        # Lazy: importing scikit-learn takes most of a second.
        from sklearn.datasets import load_digits

        scans = load_digits()
        pixels = np.round(scans.images[:, None] * (255 / 16)).astype(np.uint8)  # (1797, 1, 8, 8)
        labels = scans.target.astype(np.int64)
        pixels = fit(pixels, self.size, self.channels)
        names = tuple(str(digit) for digit in range(10))
        test = _stratified(labels, 0.2)
        return {
            **self._train_and_validation(pixels[~test], labels[~test], names),
            "test": self._images("test", pixels[test], labels[test], names),
        }


def _stratified(labels: np.ndarray, part: float) -> np.ndarray:
    """A mask (N,) that is true for `part` of every class."""
    mask = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        mask[members[permutation(len(members), _TEST_SEED)][: round(part * len(members))]] = True
    return mask
