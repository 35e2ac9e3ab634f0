"""Batches: of a split, and of another size, since features are computed at one that suits the device."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from gancli.metrics.base import Batch
from gancli.metrics.features import Images

Stream = Iterable[tuple[Tensor, Tensor | None]]  # uint8 (N, C, H, W), labels (N,) int64 or None


def regrouped(stream: Stream, size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Join the batches of a stream until they have ``size`` images or more; none is split, and the last may be smaller.

    Args:
        stream: batches of images, which all have labels or all have none.
        size: 1 or more.
    """
    parts: list[tuple[Tensor, Tensor | None]] = []
    for part in stream:
        parts.append(part)
        if sum(len(pixels) for pixels, _ in parts) >= size:
            yield _joined(parts)
            parts = []
    if parts:
        yield _joined(parts)


def _joined(parts: list[tuple[Tensor, Tensor | None]]) -> tuple[Tensor, Tensor | None]:
    if len(parts) == 1:
        return parts[0]
    labels = [each for _, each in parts if each is not None]
    return torch.cat([pixels for pixels, _ in parts]), torch.cat(labels) if labels else None


def slice_of(images: Images, start: int, stop: int) -> tuple[Tensor, Tensor | None]:
    """Return images start .. stop - 1, uint8 (N, C, H, W), and their labels, (N,) int64, if there are any."""
    labels = None if images.labels is None else torch.from_numpy(np.asarray(images.labels[start:stop]))
    return torch.from_numpy(np.asarray(images.pixels[start:stop])), labels


def within(batch: Batch, rows: np.ndarray, start: int, stop: int) -> Batch:
    """Return the part of images start .. stop - 1 that lies in sorted rows."""
    low, high = np.searchsorted(rows, (start, stop))
    return batch.rows(torch.from_numpy(rows[low:high] - start))
