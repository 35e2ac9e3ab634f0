"""Batches of another size: features are computed at one that suits the device, whatever the model draws at a time."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

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
