"""Spectral normalisation of whole networks (Miyato et al. 2018)."""

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm


def spectral_(net: nn.Module) -> None:
    """Divide every weight matrix, outputs in rows, by its largest singular value: convolutions, dense layers, tables.

    One power iteration per forward in training mode, none in eval mode; its vectors are saved with the weights. To be
    called after the initialisation, which it would hide the weights from.
    """
    for layer in list(net.modules()):
        if isinstance(layer, (nn.Conv2d, nn.Linear, nn.Embedding)):
            spectral_norm(layer)
            # An average of unit vectors is none: a moving average of the network copies them instead (training/ema.py).
            layer.parametrizations.weight[0].copied = ("_u", "_v")
