"""What is kept of every image: hashes that are computed where the images are."""

import numpy as np
import pytest
import torch

from gancli.metrics.base import Batch
from gancli.metrics.kept import Hashes, KeptPixels


def batch(pixels: torch.Tensor) -> Batch:
    return Batch(pixels, None, None, None)


def some(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def hashes(*parts: torch.Tensor) -> list[bytes]:
    found = Hashes()
    for each in parts:
        found.add(batch(each))
    return found.hashes()


def test_hashes_are_sums_modulo_two_to_the_64() -> None:
    """Against Python's integers, which do not overflow."""
    images, found = some(3), Hashes()
    found.add(batch(images))
    assert found.factors.shape == (2, 60) and found.factors.abs().double().mean() > 2**61
    for image, digest in zip(images, found.hashes(), strict=True):
        sums = [sum(a * b for a, b in zip(image.flatten().tolist(), row)) for row in found.factors.tolist()]
        assert digest == b"".join((each % 2**64).to_bytes(8, "little") for each in sums)


@pytest.mark.parametrize("chunk", [1, 130, 2**22])
def test_hashes_depend_on_the_image_alone(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hashes, "CHUNK", chunk)
    images = some(7)
    assert hashes(images) == hashes(images[:2], images[2:]) == [hashes(each[None])[0] for each in images]
    assert hashes(images.to(memory_format=torch.channels_last)) == hashes(images)


def test_one_bit_of_one_pixel_is_another_hash() -> None:
    image = some(1)
    others = image.repeat(8 * 60, 1, 1, 1)
    flat = others.view(len(others), -1)
    for i in range(len(others)):
        flat[i, i // 8] ^= 1 << i % 8
    assert len(set(hashes(image, others))) == 8 * 60 + 1
    assert len(set(hashes(some(5000), some(5000, 1)))) == 10_000


def test_points_are_hashed_by_their_bytes() -> None:
    points = torch.randn(4, 2, 1, 1)
    near = points.clone()
    near[0, 0] = torch.from_numpy(np.nextafter(near[0, 0].numpy(), np.float32(9)))
    one, other = hashes(points), hashes(near)
    assert one[1:] == other[1:] and one[0] != other[0]


def test_kept_pixels_are_those_that_were_given() -> None:
    kept = KeptPixels()
    kept.add(batch(some(2))), kept.add(batch(some(3, 1)))
    assert torch.equal(kept.images(), torch.cat([some(2), some(3, 1)]))
