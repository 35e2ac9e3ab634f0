"""The static binarisation of MNIST: Larochelle & Murray 2011, The Neural Autoregressive Distribution Estimator.

Most published likelihoods of "binarized MNIST" refer to these files: 50,000 training, 10,000 validation and 10,000 test
images whose pixels were sampled once, as text with 784 zeros and ones per line. The files must be present: they are
neither generated nor downloaded. Another sample of the same digits is another data set (data.binarise=fixed_seed).

gancli train data=static_mnist model=pixelcnn
"""

from dataclasses import replace

import numpy as np

from gancli.data.keys import chosen, typed
from gancli.data.source import Images, Source, folder
from gancli.errors import UsageError

FOLDER = "BinarizedMNIST"
FILES = {
    "train": "binarized_mnist_train.amat",
    "validation": "binarized_mnist_valid.amat",
    "test": "binarized_mnist_test.amat",
}
COUNTS = {"train": 50_000, "validation": 10_000, "test": 10_000}
HOW = "2 levels, the static binarisation of Larochelle & Murray 2011"


class StaticMNIST(Source):
    """The images of the three files, 28 x 28 grey, without labels.

    - `root`: folder that holds BinarizedMNIST/ with the three .amat files.
    - `size`, `channels`: None, or 28 and 1; the images are not resized or converted.
    - `validation`: 10000, the images of the validation file; 0: use them for training.
    - `seed`: unused.

    Raises UsageError if a file is missing or malformed.
    """

    def __init__(
        self,
        root: str = "~/.cache/gancli",
        size: int | None = None,
        channels: int | None = None,
        validation: int | float = 10_000,
        seed: int = 0,
    ) -> None:
        super().__init__("static_mnist", size, channels, validation, seed)
        for key, value, allowed in (
            ("size", size, 28),
            ("channels", channels, 1),
            ("validation", validation or None, 10_000),
        ):
            if value not in (None, allowed):
                raise UsageError(
                    f"{typed(key)}={value}: static_mnist allows only {allowed}; use {chosen('mnist')} for other values"
                )
        self.root = folder(root or "~/.cache/gancli") / FOLDER

    def _load(self, split: str) -> dict[str, Images]:
        if split == "validation" and not self.validation:
            return {}
        parts = ["train", "validation"] if split == "train" and not self.validation else [split]
        pixels = np.concatenate([self._read(part) for part in parts])
        images = self._images(split, pixels, None, ())
        return {split: replace(images, spec=replace(images.spec, levels=2), levels=HOW)}

    def _read(self, split: str) -> np.ndarray:
        """Return one file's images, (N, 1, 28, 28) uint8 of 0 and 255."""
        file = self.root / FILES[split]
        if not file.is_file():
            raise UsageError(
                f"{chosen('static_mnist')}: {file} is not there; put {', '.join(FILES.values())} of Larochelle & "
                "Murray into "
                f"{self.root}, or take another binarisation of the same digits: {chosen('mnist')} "
                f"{typed('binarise')}=fixed_seed"
            )
        digits = np.frombuffer(file.read_bytes(), np.uint8)
        digits = digits[(digits != ord(" ")) & (digits != ord("\n")) & (digits != ord("\r"))] - ord("0")
        wanted = COUNTS[split] * 28 * 28
        if len(digits) != wanted or digits.max(initial=0) > 1:
            raise UsageError(
                f"{chosen('static_mnist')}: {file} holds {len(digits):,} digits where {wanted:,} zeros and ones are "
                "expected; "
                "fetch it again"
            )
        return (digits * np.uint8(255)).reshape(-1, 1, 28, 28)
