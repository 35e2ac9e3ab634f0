"""Batch norm over the parts of a batch that several processes have, for every device (torch's own refuses the CPU)."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gancli.nn.ranks import mean, parts


class Synchronised(_BatchNorm):
    """The part of synchronise_() that a layer of batch norm inherits from.

    Mean and variance are those of all processes' images, and so are their gradients, of any order. In one process,
    outside of a step, and with the statistics of training, the layer computes as before.
    """

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:  # (N, C, ...) -> (N, C, ...)
        if parts() == 1 or not (self.training or self.running_mean is None):
            return super().forward(x)
        axes, shape = [0, *range(2, x.ndim)], [1, -1, *[1] * (x.ndim - 2)]
        wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        centre = mean(wide.mean(axes))  # (C,)
        centred = wide - centre.view(shape)
        variance = mean(centred.square().mean(axes))  # (C,); a second message: E x^2 - (E x)^2 would cancel
        self._note(centre.detach(), variance.detach(), parts() * x.numel() // x.shape[1])
        found = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            found = found * self.weight.view(shape) + self.bias.view(shape)
        return found.to(x.dtype)

    @torch.no_grad()
    def _note(self, centre: Tensor, variance: Tensor, n: int) -> None:
        """Take the statistics of n values per channel into those of training, the variance without bias."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        assert self.momentum is not None, "a cumulative mean is for standing statistics, outside of a step"
        self.num_batches_tracked += 1
        self.running_mean.lerp_(centre.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype) * (n / max(n - 1, 1)), self.momentum)


def synchronise_(net: nn.Module) -> None:
    """Let every batch norm of a network take its statistics over all processes.

    The layers stay the same objects with the same names, so that a checkpoint fits either way.
    """
    kinds: dict[type, type] = {}
    for layer in net.modules():
        kind = type(layer)
        if isinstance(layer, _BatchNorm) and not isinstance(layer, Synchronised):
            layer.__class__ = kinds.setdefault(kind, type(kind.__name__, (Synchronised, kind), {}))


def running(net: nn.Module) -> list[Tensor]:
    """Return the statistics of training of every batch norm that takes them over its own images: the buffers."""
    own = [each for each in net.modules() if isinstance(each, _BatchNorm) and not isinstance(each, Synchronised)]
    return [each for layer in own for each in (layer.running_mean, layer.running_var) if each is not None]
