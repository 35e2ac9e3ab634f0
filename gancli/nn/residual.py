"""The residual networks of WGAN-GP and SN-GAN, with the full pre-activation blocks of He et al. 2016.

Gulrajani et al. 2017 (appendix, 32 pixels) and Miyato et al. 2018 (the same with other widths). Convolutions of the
residual branches are He-uniform, all other weights Glorot-uniform, and biases zero.
"""

import math
from collections.abc import Callable
from typing import TypeVar

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, relu

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)
Norm = Callable[[int], nn.Module]  # channels -> a layer of (N, C, H, W) and labels (N,) or None


def glorot(layer: Layer, gain: float = 1.0) -> Layer:
    """Return the layer with Glorot-uniform weights times ``gain``, and a bias of zero."""
    nn.init.xavier_uniform_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def branch(inputs: int, outputs: int) -> nn.Conv2d:
    """Return a 3x3 convolution of a residual branch, He-uniform."""
    return glorot(nn.Conv2d(inputs, outputs, 3, padding=1), math.sqrt(2))


class UpBlock(nn.Module):
    """Norm, ReLU, x2, 3x3, norm, ReLU, 3x3; the shortcut is x2 and a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, norm: Norm) -> None:
        super().__init__()
        self.norm1, self.conv1 = norm(inputs), branch(inputs, outputs)
        self.norm2, self.conv2 = norm(outputs), branch(outputs, outputs)
        self.shortcut = glorot(nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:  # (N, inputs, H, W) -> (N, outputs, 2H, 2W)
        h = self.conv1(interpolate(relu(self.norm1(x, label)), scale_factor=2))
        return self.conv2(relu(self.norm2(h, label))) + self.shortcut(interpolate(x, scale_factor=2))


class DownBlock(nn.Module):
    """ReLU, 3x3, ReLU, 3x3, and /2 by averaging if ``down``; the shortcut is a 1x1 convolution if the shape changes.

    ``first``: no ReLU is applied to the image, and the shortcut averages before its convolution.
    """

    def __init__(self, inputs: int, outputs: int, *, down: bool, first: bool = False) -> None:
        super().__init__()
        self.down, self.first = down, first
        self.conv1, self.conv2 = branch(inputs, outputs), branch(outputs, outputs)
        self.shortcut = glorot(nn.Conv2d(inputs, outputs, 1)) if down or inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:  # (N, inputs, H, W) -> (N, outputs, H or H/2, W or W/2)
        h = self._halved(self.conv2(relu(self.conv1(x if self.first else relu(x)))))
        return h + (self.shortcut(self._halved(x)) if self.first else self._halved(self.shortcut(x)))

    def _halved(self, x: Tensor) -> Tensor:
        return avg_pool2d(x, 2) if self.down else x


class Generator(nn.Module):
    """A linear layer, one UpBlock per stage, norm, ReLU, 3x3 convolution, tanh.

    Args:
        latent_dim: dimension of the latents.
        width: channels of every block.
        stages: number of blocks.
        channels: channels of the image.
        seed: height and width before the first block.
        norm: constructs a normalisation layer, which also receives the labels.
    """

    def __init__(
        self, latent_dim: int, width: int, stages: int, channels: int, seed: tuple[int, int], norm: Norm
    ) -> None:
        super().__init__()
        start = (width, *seed)
        self.start = nn.Sequential(glorot(nn.Linear(latent_dim, math.prod(start))), nn.Unflatten(1, start))
        self.blocks = nn.ModuleList(UpBlock(width, width, norm) for _ in range(stages))
        self.norm, self.image = norm(width), glorot(nn.Conv2d(width, channels, 3, padding=1))

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """(N, latent_dim), (N,) -> (N, channels, H, W) in (-1, 1)."""
        x = self.start(z)
        for block in self.blocks:
            x = block(x, label)
        return self.image(relu(self.norm(x, label))).tanh()


class Trunk(nn.Sequential):
    """Blocks that halve the image down to twice the seed, two that do not, ReLU. (N, C, H, W) -> (N, width, h, w).

    For 32 pixels these are the four blocks of the papers. There is no normalisation.

    Raises:
        ValueError: ``width`` is below 1.
    """

    def __init__(self, channels: int, width: int, stages: int) -> None:
        if width < 1:
            raise ValueError(f"discriminator_width={width} must be 1 or more")
        halving = max(1, stages - 1)
        super().__init__(
            DownBlock(channels, width, down=True, first=True),
            *(DownBlock(width, width, down=True) for _ in range(halving - 1)),
            *(DownBlock(width, width, down=False) for _ in range(2)),
            nn.ReLU(),
        )
