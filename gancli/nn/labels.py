"""What images are conditioned on: encodings of class labels, planes of them, and labels with a map of features."""

from typing import NamedTuple

import torch
from torch import Tensor, nn


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


class ClassPlane(nn.Module):
    """Turns classes into one plane: one-hot -> linear -> ReLU. (N,) -> (N, 1, H, W)."""

    def __init__(self, classes: int, height: int, width: int) -> None:
        super().__init__()
        self.classes, self.size = classes, (1, height, width)
        self.linear = nn.Linear(classes, height * width)

    def forward(self, label: Tensor) -> Tensor:
        code = one_hot(label, self.classes).to(self.linear.weight.dtype)
        return self.linear(code).relu().unflatten(1, self.size)


class Conditioned(nn.Module):
    """A network with one more input plane if there are classes; ``net`` is a subclass's."""

    net: nn.Module

    def __init__(self, classes: int, height: int, width: int) -> None:
        super().__init__()
        self.plane = ClassPlane(classes, height, width) if classes else None

    def joined(self, *inputs: Tensor, label: Tensor | None) -> Tensor:
        """Return inputs of the same number of dimensions side by side, with the plane of the class if there is one."""
        if self.plane is None or label is None:
            return torch.cat(inputs, 1)
        plane = self.plane(label)
        return torch.cat([*inputs, plane if inputs[0].ndim == plane.ndim else plane.flatten(1)], 1)
