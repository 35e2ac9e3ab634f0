"""Weight initialisations, named after the papers that use them."""

import math
from collections.abc import Callable

from torch import Tensor, nn

from gancli.nn.norm import ConditionalBatchNorm2d


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
