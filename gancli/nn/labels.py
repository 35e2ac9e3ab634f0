"""Labels as numbers that a layer can read."""

import torch
from torch import Tensor


def one_hot(label: Tensor, classes: int) -> Tensor:
    """(N,) integers -> (N, classes) zeros and one 1, float32; unlike torch's own, without waiting for the device."""
    return (label[:, None] == torch.arange(classes, device=label.device)).float()


def with_maps(x: Tensor, code: Tensor) -> Tensor:
    """(N, C, H, W), (N, classes) -> (N, C + classes, H, W): a map for each class, all ones or all zeros."""
    return torch.cat([x, code[:, :, None, None].expand(-1, -1, *x.shape[2:]).to(x.dtype)], 1)
