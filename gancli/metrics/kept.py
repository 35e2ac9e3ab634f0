"""Statistics that store something for every image, so that their memory grows with n."""

from typing import Self

import torch
from torch import Tensor

from gancli.metrics.base import Batch, SetInfo, Statistic


class KeptFeatures(Statistic):
    """The features of every image, float32 on the device: 4 D bytes each, 410 MB for 50,000 images with Inception."""

    def __init__(self, about: SetInfo) -> None:
        self._rows = torch.empty(about.n, about.dim, device=about.device)
        self.n = 0

    @classmethod
    def of(cls, about: SetInfo) -> Self:
        return cls(about)

    def add(self, batch: Batch) -> None:
        assert batch.features is not None  # requested by `network`
        self._rows[self.n : self.n + len(batch.features)] = batch.features
        self.n += len(batch.features)

    def rows(self) -> Tensor:
        """Return (n, D) float32."""
        return self._rows[: self.n]


class Parts(Statistic):
    """A list of tensors, one per batch."""

    network = False

    def __init__(self) -> None:
        self.parts: list[Tensor] = []

    @classmethod
    def of(cls, about: SetInfo) -> Self:
        return cls()


class KeptPixels(Parts):
    """The pixels of every image, uint8 on the CPU: C H W bytes each. No copy waits; the end waits for all of them."""

    def add(self, batch: Batch) -> None:
        self.device = batch.pixels.device
        self.parts.append(batch.pixels.to("cpu", non_blocking=True))  # into pinned memory

    def images(self) -> Tensor:
        """Return (n, C, H, W) uint8."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return torch.cat(self.parts)


class KeptLabels(Parts):
    """The label of every image, int64, where the batches have it until it is asked for: a copy waits for the device."""

    labelled = True

    def add(self, batch: Batch) -> None:
        assert batch.labels is not None  # requested by `labelled`
        self.parts.append(batch.labels)

    def labels(self) -> Tensor:
        """Return (n,) int64 on the CPU."""
        return torch.cat(self.parts).cpu()


class Hashes(Parts):
    """A 16-byte hash of the pixels of every image, computed where they are, since a copy would wait for the device.

    It is the multilinear hash of Carter & Wegman 1979: two sums of the pixels, each times a random number, modulo 2^64.
    Two different images differ somewhere by 1 to 255, which 2^8 does not divide, and so have the same hash with a
    probability of at most 2^-114.
    """

    CHUNK = 2**22  # bytes that are multiplied at a time: 32 MiB
    SEED = 0  # of the random numbers: all sets have the same

    def __init__(self) -> None:
        super().__init__()
        self.factors: Tensor | None = None  # (2, bytes of an image) int64

    def add(self, batch: Batch) -> None:
        pixels = batch.pixels.flatten(1).contiguous().view(torch.uint8)  # of points: their bytes
        if self.factors is None:
            generator = torch.Generator().manual_seed(self.SEED)
            shape, low = (2, pixels.shape[1]), torch.iinfo(torch.int64).min
            self.factors = torch.randint(low, -(low + 1), shape, generator=generator).to(pixels.device)
        for part in pixels.split(max(self.CHUNK // pixels.shape[1], 1)):
            self.parts.append(torch.stack([(part.long() * each).sum(1) for each in self.factors], 1))

    def hashes(self) -> list[bytes]:
        """Return one hash for each image."""
        return [each.tobytes() for each in torch.cat(self.parts).cpu().numpy()]
