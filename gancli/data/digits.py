"""scikit-learn's 1,797 scans of handwritten digits, 8 x 8 grey; bundled with the library, no download."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from gancli.data.pixels import fit
from gancli.data.source import Images, Source, permutation

FILE = Path("datasets", "data", "digits.csv.gz")  # within scikit-learn
_TEST_SEED = 0  # the test split does not depend on data.seed


class Digits(Source):
    """`sklearn.datasets.load_digits` (UCI "Optical Recognition of Handwritten Digits", its 1,797 test scans).

    Values v in 0 .. 16 are stored as round(v * 255 / 16). The test split is a fixed 20 % of every class, since
    scikit-learn defines no split; the remaining images are train and validation. Arguments are those of `Source`.
    """

    def __init__(
        self,
        size: int | None = None,
        channels: int | None = None,
        validation: int | float = 0.05,
        seed: int = 0,
    ) -> None:
        super().__init__("digits", size, channels, validation, seed)

    def _load(self, split: str) -> dict[str, Images]:
        scans, labels = _scans()
        pixels = np.round(scans[:, None] * (255 / 16)).astype(np.uint8)  # (1797, 1, 8, 8)
        pixels = fit(pixels, self.size, self.channels)
        names = tuple(str(digit) for digit in range(10))
        test = _stratified(labels, 0.2)
        return {
            **self._train_and_validation(pixels[~test], labels[~test], names),
            "test": self._images("test", pixels[test], labels[test], names),
        }


def _scans() -> tuple[np.ndarray, np.ndarray]:
    """Return the scans, (1797, 8, 8) float64, and their labels, (1797,) int64.

    The file is read without importing scikit-learn, which takes a second; that is done if a release keeps it elsewhere.
    """
    package = find_spec("sklearn")
    file = Path(package.origin).parent / FILE if package and package.origin else None
    if file is None or not file.is_file():
        from sklearn.datasets import load_digits

        found = load_digits()
        return found.images, found.target.astype(np.int64)
    table = np.loadtxt(file, delimiter=",")  # a scan per row, and its label
    return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)


def _stratified(labels: np.ndarray, part: float) -> np.ndarray:
    """Return an (N,) bool mask that selects the fraction `part` of every class."""
    mask = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        mask[members[permutation(len(members), _TEST_SEED)][: round(part * len(members))]] = True
    return mask
