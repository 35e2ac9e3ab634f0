"""What images are conditioned on: encodings of class labels, and labels with a map of features."""

from typing import NamedTuple

import torch
from torch import Tensor


class Located(NamedTuple):
    """What an image is conditioned on at each of its pixels, beside its class.

    Args:
        label: (N,) int64, or None.
        context: (N, C, H, W).
    """

    label: Tensor | None
    context: Tensor


Condition = Tensor | Located  # a class alone, or with a map


def one_hot(label: Tensor, classes: int) -> Tensor:
    """One-hot encode (N,) integers as (N, classes) float32, without the host synchronisation of PyTorch's one_hot."""
    return (label[:, None] == torch.arange(classes, device=label.device)).float()


def with_maps(x: Tensor, code: Tensor) -> Tensor:
    """Concatenate one constant feature map per class. (N, C, H, W), (N, classes) -> (N, C + classes, H, W)."""
    return torch.cat([x, code[:, :, None, None].expand(-1, -1, *x.shape[2:]).to(x.dtype)], 1)
