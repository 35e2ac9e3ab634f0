"""Pixelwise operations of residual networks that read images in some order.

They take maps, (N, C, H, W), and rows, one pixel each, (P, C). A network whose module says ``fx.wrap("concat_elu")``
and so on is traced with them as they are: the cached samplers then make fewer calls at each pixel.
"""

import torch
from torch import Tensor, layer_norm  # and elu_: a call in nn.functional costs as much as the sums
from torch.nn.functional import elu_


def concat_elu(x: Tensor, out: Tensor | None = None) -> Tensor:
    """ELU of x and of -x, side by side (PixelCNN++): twice the channels. ``out``: memory for it, without gradients."""
    return elu_(torch.cat([x, -x], 1, out=out))


def normalise(x: Tensor) -> Tensor:
    """Positional normalisation: mean 0 and variance 1 over the channels of each pixel (Li et al. 2019, PONO)."""
    if x.dim() == 2:
        return layer_norm(x, x.shape[1:])
    return layer_norm(x.movedim(1, -1), x.shape[1:2]).movedim(-1, 1)


def gated(x: Tensor, both: Tensor) -> Tensor:
    """Add the first half of the channels, normalised, times the sigmoid of the others."""
    value, gate = both.chunk(2, 1)
    return torch.addcmul(x, normalise(value), gate.sigmoid())
