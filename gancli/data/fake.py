"""Random noise in the shape of any data set, for smoke tests."""

import numpy as np

from gancli.data.source import Images, Source, whole

_STREAM = {"train": 0, "test": 1}


class FakeImages(Source):
    """`n` training and `n_test` test images of uniform uint8 noise, identical on every machine for a given `seed`.

    - `size`: height and width in pixels, unless overridden by `height` or `width`; default 32.
    - `channels`: 1 or 3, default 3.
    - `num_classes`: labels are uniform in 0 .. num_classes-1; 0: no labels.
    - `validation`: as in `Source`. `seed`: seed of the noise and of the validation split.
    """

    def __init__(
        self,
        n: int = 1000,
        n_test: int = 200,
        num_classes: int = 10,
        size: int | None = 32,
        height: int | None = None,
        width: int | None = None,
        channels: int | None = 3,
        validation: int | float = 0.05,
        seed: int = 0,
    ) -> None:
        super().__init__("fake", size, channels, validation, seed)
        self.n = {"train": whole("n", n, 1, 2**31), "test": whole("n_test", n_test, 1, 2**31)}
        self.num_classes = whole("num_classes", num_classes, 0, 2**31)
        height, width = height or self.size or 32, width or self.size or 32
        self.shape = (self.channels or 3, whole("height", height, 1, 65536), whole("width", width, 1, 65536))

    def _load(self, split: str) -> dict[str, Images]:
        part = "test" if split == "test" else "train"
        # RandomState([a, b]) gives each split its own stream, and is stable across NumPy versions.
        random = np.random.RandomState([self.seed, _STREAM[part]])
        n = self.n[part]
        pixels = np.frombuffer(bytearray(random.bytes(n * int(np.prod(self.shape)))), np.uint8).reshape(n, *self.shape)
        labels = random.randint(0, self.num_classes, n).astype(np.int64) if self.num_classes else None
        names = tuple(str(label) for label in range(self.num_classes))
        if part == "test":
            return {"test": self._images("test", pixels, labels, names)}
        return self._train_and_validation(pixels, labels, names)
