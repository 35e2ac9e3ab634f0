"""Pixelwise operations of autoregressive residual networks.

They accept maps, (N, C, H, W), and rows of pixels, (P, C). Modules that call ``fx.wrap("concat_elu")`` and so on keep
them as single operations when traced, which saves calls per pixel in cached sampling.
"""

import torch
from torch import Tensor, layer_norm  # not nn.functional's, whose overhead exceeds the arithmetic
from torch.nn.functional import elu_


def concat_elu(x: Tensor, out: Tensor | None = None) -> Tensor:
    """Concatenate the ELU of x and of -x along the channels (PixelCNN++). With ``out``, there is no gradient."""
    return elu_(torch.cat([x, -x], 1, out=out))


def normalise(x: Tensor) -> Tensor:
    """Normalise to mean 0 and variance 1 over the channels of each pixel (positional normalisation, Li et al. 2019)."""
    if x.dim() == 2:
        return layer_norm(x, x.shape[1:])
    return layer_norm(x.movedim(1, -1), x.shape[1:2]).movedim(-1, 1)


def gated(x: Tensor, both: Tensor) -> Tensor:
    """Add to x the normalised first half of the channels of ``both``, gated by the sigmoid of the second half."""
    value, gate = both.chunk(2, 1)
    return torch.addcmul(x, normalise(value), gate.sigmoid())


def biased(x: Tensor, bias: Tensor) -> Tensor:
    """Add a bias in the type of x, or else what follows would be in float32 where x is in bfloat16."""
    return x + bias.to(x.dtype)


def gated_tanh(x: Tensor) -> Tensor:
    """Return the hyperbolic tangent of the first half of the channels, times the sigmoid of the second half."""
    feature, gate = x.chunk(2, 1)  # the gradients of slices would be padded with zeros and added
    return torch.tanh(feature) * torch.sigmoid(gate)
