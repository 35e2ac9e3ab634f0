"""Spectral normalisation of whole networks (Miyato et al. 2018)."""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm, spectral_norm


class Spectral(_SpectralNorm):
    """PyTorch's parametrization in float32: autocast on a GPU would round the singular value to bfloat16's 3 digits."""

    copied = ("_u", "_v")  # an average of unit vectors is not a unit vector: the moving average copies them

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):
            return super().forward(weight)


def spectral_(net: nn.Module, *, embeddings: bool = True) -> None:
    """Divide the weight of every convolution, linear layer and embedding by its largest singular value.

    ``embeddings``: false leaves embeddings as they are, as BigGAN's generator has it.

    There is one power iteration per forward pass in training mode and none in eval mode; its vectors are saved with the
    weights. Call this after the initialisation, since it replaces the weights by parametrizations.
    """
    for layer in list(net.modules()):
        if isinstance(layer, (nn.Conv2d, nn.Linear)) or (embeddings and isinstance(layer, nn.Embedding)):
            spectral_norm(layer)
            layer.get_submodule("parametrizations.weight.0").__class__ = Spectral  # spectral_norm() takes no class
