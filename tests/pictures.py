"""Files of pictures: flat ones, of which the i-th has the shade 5 * i, and noise in the files of MNIST."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gancli.data.source import Images
from gancli.errors import UsageError


def write(root: Path, *names: str, size: tuple[int, int] = (8, 8), mode: str = "RGB", first: int = 0) -> Path:
    """Flat pictures; the i-th has the shade 5 * (first + i)."""
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shade = 5 * (first + i)
        Image.new(mode, size, shade if mode == "L" else (shade,) * 3).save(root / name)
    return root


def numbers(count: int, prefix: str = "", kind: str = "png") -> list[str]:
    return [f"{prefix}{i:03}.{kind}" for i in range(count)]


def shades(images: Images) -> list[int]:
    return sorted(round(float(image.mean()) / 5) for image in images.pixels)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, shape, dtype=np.uint8)


def write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes())


def write_mnist(root: Path, folder: str = "MNIST") -> dict[str, tuple[np.ndarray, np.ndarray]]:
    data = {"train": (noise(40, 28, 28), noise(40) % 10), "t10k": (noise(12, 28, 28, seed=1), noise(12, seed=1) % 10)}
    for part, (images, labels) in data.items():
        write_idx(root / folder / "raw" / f"{part}-images-idx3-ubyte", images)
        write_idx(root / folder / "raw" / f"{part}-labels-idx1-ubyte", labels)
    return data


def refused(make, *words: str) -> None:
    with pytest.raises(UsageError) as error:
        make()
    assert "\n" not in str(error.value) and all(word in str(error.value) for word in words), str(error.value)
