"""Batch norm with and without class conditioning, behind one signature, and its standing statistics."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm that ignores the label."""

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        return super().forward(x)


class ConditionalBatchNorm2d(nn.Module):
    """Batch norm with a scale and a shift per class and channel (Dumoulin et al. 2017; Miyato & Koyama 2018).

    Mean and variance are taken over the whole batch. Scales are initialised with 1, shifts with 0.

    Args:
        channels: channels of the input.
        classes: number of classes.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.scale, self.shift = nn.Embedding(classes, channels), nn.Embedding(classes, channels)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:  # (N, C, H, W), (N,) -> (N, C, H, W)
        scale, shift = (table(label)[:, :, None, None].to(x.dtype) for table in (self.scale, self.shift))
        return scale * self.norm(x) + shift


class LinearBatchNorm2d(nn.Module):
    """Batch norm whose scale and shift are linear in a vector (Brock et al. 2019): (1 + W c) norm(x) + V c.

    Where c begins with a class's embedding that all layers share, a class costs one row of that table instead of two
    per layer.

    Args:
        channels: channels of the input.
        inputs: length of the vector.
    """

    def __init__(self, channels: int, inputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain, self.shift = (nn.Linear(inputs, channels, bias=False) for _ in range(2))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:  # (N, C, H, W), (N, inputs) -> (N, C, H, W)
        gain, shift = (layer(condition)[:, :, None, None] for layer in (self.gain, self.shift))
        return (1 + gain) * self.norm(x) + shift


def statistics(net: nn.Module) -> dict[str, Tensor]:
    """Return the running statistics of every batch norm in a network, by their names: the buffers themselves."""
    found = {name: layer for name, layer in net.named_modules() if isinstance(layer, _BatchNorm)}
    return {f"{name}.{key}": buffer for name, layer in found.items() for key, buffer in layer.named_buffers()}


@torch.no_grad()
def stand_(net: nn.Module, forward: Callable[[], object], passes: int = 16) -> None:
    """Replace all running statistics by standing ones: means over forward passes on freshly drawn input.

    Brock et al. 2019, appendix B ("standing statistics"): the averages of training belong to latents that are not
    truncated. Only batch norms are in training mode meanwhile; all other layers, such as power iterations, stay as they
    are, and so does the mode of each afterwards.

    Args:
        net: the network.
        forward: draws input and runs the network on it.
        passes: number of calls.
    """
    layers = [layer for layer in net.modules() if isinstance(layer, _BatchNorm)]
    before = [(layer.momentum, layer.training) for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the cumulative mean
        layer.train()
    try:
        for _ in range(passes):
            forward()
    finally:
        for layer, (momentum, training) in zip(layers, before):
            layer.momentum = momentum
            layer.train(training)
