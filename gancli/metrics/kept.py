"""Statistics that store something for every image, so that their memory grows with n."""

import hashlib
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
    """The pixels of every image, uint8 on the CPU: C H W bytes each."""

    def add(self, batch: Batch) -> None:
        self.parts.append(batch.pixels.cpu())

    def images(self) -> Tensor:
        """Return (n, C, H, W) uint8."""
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


class Hashes(Statistic):
    """A 16-byte hash of the pixels of every image."""

    network = False

    def __init__(self) -> None:
        self.list: list[bytes] = []

    @classmethod
    def of(cls, about: SetInfo) -> Self:
        return cls()

    def add(self, batch: Batch) -> None:
        arrays = batch.pixels.cpu().contiguous().numpy()
        self.list += [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in arrays]
