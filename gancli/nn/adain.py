"""The layers of StyleGAN: Karras et al. 2019, A Style-Based Generator Architecture for GANs."""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, leaky_relu

from gancli.nn.equalized import EqualizedLinear


def instance_norm(x: Tensor) -> Tensor:
    """Return each channel of each image with mean 0 and variance 1 over its pixels, (N, C, H, W)."""
    x = x - x.mean((2, 3), keepdim=True)
    return x * (x.square().mean((2, 3), keepdim=True) + 1e-8).rsqrt()


def stylise(x: Tensor, style: Tensor) -> Tensor:
    """Scale and shift channels (eq. 1): (N, C, H, W), (N, 2C) of s and b -> (s + 1) x + b: 0 changes nothing."""
    scale, shift = style[:, :, None, None].chunk(2, 1)
    return x * (scale + 1) + shift


class Epilogue(nn.Module):
    """Noise, bias, leaky ReLU, instance norm, style: what follows every convolution (Figure 1b). (N, C, H, W), (N, d).

    The noise is one map, scaled for each channel by a learned factor that begins at 0. It is drawn anew in training; in
    eval mode it is a constant, so that equal latents give equal images.

    Args:
        channels: C.
        style_dim: dimension d of the style w.
        side: height and width of the features.
    """

    noise: Tensor

    def __init__(self, channels: int, style_dim: int, side: tuple[int, int]) -> None:
        super().__init__()
        self.strength, self.bias = (nn.Parameter(torch.zeros(channels, 1, 1)) for _ in range(2))
        self.affine = EqualizedLinear(style_dim, 2 * channels)
        self.register_buffer("noise", torch.randn(side))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        noise = torch.randn_like(x[:, :1]) if self.training else self.noise
        return stylise(instance_norm(leaky_relu(x + self.strength * noise + self.bias, 0.2)), self.affine(w))


class Blur(nn.Module):
    """The low-pass filter [1, 2, 1] in both directions, with zeros around the image. (N, C, H, W) -> the same."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        taps = torch.tensor([0.25, 0.5, 0.25])
        self.register_buffer("kernel", torch.outer(taps, taps), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        return conv2d(x, self.kernel.to(x.dtype).expand(channels, 1, -1, -1), padding=1, groups=channels)
