"""Spectral normalisation of whole networks (Miyato et al. 2018)."""

from typing import Any

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm


def spectral_(net: nn.Module, *, embeddings: bool = True) -> None:
    """Divide the weight of every convolution, linear layer and embedding by its largest singular value.

    ``embeddings``: false leaves embeddings as they are, as BigGAN's generator has it.

    There is one power iteration per forward pass in training mode and none in eval mode; its vectors are saved with the
    weights. Call this after the initialisation, since it replaces the weights by parametrizations.
    """
    for layer in list(net.modules()):
        if isinstance(layer, (nn.Conv2d, nn.Linear)) or (embeddings and isinstance(layer, nn.Embedding)):
            spectral_norm(layer)
            # An average of unit vectors is not a unit vector, so the moving average copies them (training/ema.py).
            parametrization: Any = layer.get_submodule("parametrizations.weight.0")
            parametrization.copied = ("_u", "_v")
