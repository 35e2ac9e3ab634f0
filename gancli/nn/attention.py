"""Self-attention over feature maps: Zhang et al. 2019, Self-Attention GANs, as in the release of BigGAN."""

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d


class SelfAttention2d(nn.Module):
    """Each pixel adds a mean over all pixels, weighted by similarity, times a learned gamma that starts at 0.

    With queries and keys of channels/8 numbers and values of channels/2, 1x1 convolutions all: beta = softmax(query
    key^T) (their eq. 1, without a scale), o = W beta value (eq. 2), y = gamma o + x (eq. 3). Keys and values are
    max-pooled 2x2, which quarters the cost (the release). At the initialisation the layer is the identity.

    Args:
        channels: of the maps, 8 or more.

    Raises:
        ValueError: there are fewer than 8 channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels < 8:
            raise ValueError(f"attention on {channels} channels: it needs a width of 8 or more")
        self.query, self.key = (nn.Conv2d(channels, channels // 8, 1, bias=False) for _ in range(2))
        self.value = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.output = nn.Conv2d(channels // 2, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W) -> the same
        query = self.query(x).flatten(2)  # (N, C/8, HW)
        key, value = (max_pool2d(layer(x), 2).flatten(2) for layer in (self.key, self.value))  # (N, ..., HW/4)
        beta = (query.transpose(1, 2) @ key).softmax(-1)  # (N, HW, HW/4)
        seen = (value @ beta.transpose(1, 2)).unflatten(2, x.shape[2:])  # (N, C/2, H, W)
        return self.gamma * self.output(seen) + x
