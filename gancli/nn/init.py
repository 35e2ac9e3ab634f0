"""Weight initialisations, named after the papers that use them."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from gancli.nn.norm import ConditionalBatchNorm2d

FLAT = 1e-6  # share of the largest variance, below which there is only rounding


def uniform_(module: nn.Module, irange: float) -> None:
    """Initialise linear layers with weights U(-irange, irange) and zero biases (pylearn2's ``irange``)."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.uniform_(layer.weight, -irange, irange)
            nn.init.zeros_(layer.bias)


def dcgan_(module: nn.Module, std: float = 0.02) -> None:
    """Initialise convolutions with N(0, std), batch-norm scales with N(1, std), biases with 0 (Radford et al. 2016)."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(layer.weight, 0.0, std)
        elif isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.normal_(layer.weight, 1.0, std)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def he_uniform_(module: nn.Module) -> None:
    """Initialise convolutions uniformly with std sqrt(4 / (fan in + fan out)), linear layers with sqrt(2 / ...).

    Biases are zero. As in the code of Gulrajani et al. 2017, except that the stride does not change the fans.
    """
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.xavier_uniform_(layer.weight, gain=math.sqrt(2))
        elif isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def weights_(module: nn.Module, fill: Callable[[Tensor], object]) -> None:
    """Fill the weights of convolutions, linear layers and embeddings; biases become 0 (the release of BigGAN).

    The tables of a ConditionalBatchNorm2d keep their scales of 1 and shifts of 0.
    """
    kept = {id(m) for norm in module.modules() if isinstance(norm, ConditionalBatchNorm2d) for m in norm.modules()}
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear, nn.Embedding)) and id(layer) not in kept:
            fill(layer.weight)
            if not isinstance(layer, nn.Embedding) and layer.bias is not None:
                nn.init.zeros_(layer.bias)


@torch.no_grad()
def whiten_(layer: nn.Conv2d, outputs: Tensor) -> None:
    """Change weights and biases such that the channels have mean 0, variance 1 and no correlations on some data.

    Of all matrices that do so, the symmetric one changes the outputs least. Directions without variance stay.

    Args:
        layer: a convolution with a bias.
        outputs: what it makes of the data, (N, C, h, w).
    """
    rows = outputs.movedim(1, -1).flatten(0, -2).double()
    mean = rows.mean(0)
    variance, directions = torch.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))
    scale = torch.where(variance > FLAT * variance[-1], variance, 1).rsqrt()
    matrix = directions * scale @ directions.T
    layer.weight.copy_((matrix @ layer.weight.double().flatten(1)).view_as(layer.weight))
    layer.bias.copy_(matrix @ (layer.bias.double() - mean))  # type: ignore[union-attr]  # it has one
