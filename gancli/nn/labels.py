"""Encodings of class labels."""

import torch
from torch import Tensor


def one_hot(label: Tensor, classes: int) -> Tensor:
    """One-hot encode (N,) integers as (N, classes) float32, without the host synchronisation of PyTorch's one_hot."""
    return (label[:, None] == torch.arange(classes, device=label.device)).float()


def with_maps(x: Tensor, code: Tensor) -> Tensor:
    """Concatenate one constant feature map per class. (N, C, H, W), (N, classes) -> (N, C + classes, H, W)."""
    return torch.cat([x, code[:, :, None, None].expand(-1, -1, *x.shape[2:]).to(x.dtype)], 1)
