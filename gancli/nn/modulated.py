"""The synthesis network of StyleGAN2: Karras et al. 2020, Analyzing and Improving the Image Quality of StyleGAN.

A style scales the input channels of a convolution (modulation) and its output is divided by the standard deviation that
it then has for independent inputs of unit variance (demodulation, eqs. 1 and 3). The scales are applied to the
activations before and after one convolution that all images share, which equals the release's convolution with a kernel
per image, and can be differentiated twice by any backend.
"""

import math
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu

from gancli.nn.equalized import SQRT2, EqualizedLinear
from gancli.nn.fir import Filter


class ModulatedConv2d(nn.Module):
    """A convolution with odd kernel whose input channels are scaled by a style.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        style_dim: dimension of the style w.
        kernel: side of the kernel; 3 if ``up``.
        demodulate: whether outputs are scaled back to unit variance.
        up: whether the output has twice the size.
    """

    def __init__(
        self, inputs: int, outputs: int, style_dim: int, kernel: int, *, demodulate: bool = True, up: bool = False
    ) -> None:
        super().__init__()
        self.affine = EqualizedLinear(style_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.scale, self.padding, self.demodulate = 1 / math.sqrt(inputs * kernel**2), kernel // 2, demodulate
        self.filter = Filter() if up else None

    def forward(self, x: Tensor, w: Tensor, gain: float = 1.0) -> Tensor:
        """(N, inputs, H, W), (N, style_dim) -> (N, outputs, H, W) times ``gain``, or of twice the size."""
        return self.modulated(x, self.affine(w), gain)

    def modulated(self, x: Tensor, style: Tensor, gain: float = 1.0) -> Tensor:
        """(N, inputs, H, W), (N, inputs) -> (N, outputs, H, W) times ``gain``, or of twice the size."""
        weight, x = self.weight * (self.scale if self.demodulate else gain * self.scale), x * style[:, :, None, None]
        if self.filter is None:
            y = conv2d(x, weight, padding=self.padding)
        else:
            y = self.filter(conv_transpose2d(x, weight.transpose(0, 1), stride=2), 1, gain=4.0)
        if not self.demodulate:
            return y
        variance = style.square() @ weight.square().sum((2, 3)).T  # (N, outputs): sum_ik (s_i w_oik)^2, eq. 3
        return y * (gain * (variance + 1e-8).rsqrt())[:, :, None, None]


class StyledLayer(nn.Module):
    """Modulated convolution, noise, bias, leaky ReLU (section 2.2). (N, inputs, H, W), (N, d) -> (N, outputs, H', W').

    The noise is one map for all channels, drawn anew in training. In eval mode it is a constant, so that equal latents
    give equal images.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        style_dim: dimension d of the style.
        side: height and width of the output.
        up: whether that is twice the input's.
    """

    noise: Tensor

    def __init__(self, inputs: int, outputs: int, style_dim: int, side: tuple[int, int], *, up: bool) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(inputs, outputs, style_dim, 3, up=up)
        self.bias, self.strength = nn.Parameter(torch.zeros(outputs)), nn.Parameter(torch.zeros(()))
        self.register_buffer("noise", torch.randn(side))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        y = self.conv(x, w, SQRT2)  # the gain of the leaky ReLU, which costs less before than after it
        noise = torch.randn_like(y[:, :1]) if self.training else self.noise
        return leaky_relu(y + SQRT2 * (self.strength * noise + self.bias[:, None, None]), 0.2)


class ToImage(nn.Module):
    """Modulated 1x1 convolution to the image's channels, without demodulation, and a bias."""

    def __init__(self, inputs: int, channels: int, style_dim: int) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(inputs, channels, style_dim, 1, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:  # (N, inputs, H, W), (N, d) -> (N, channels, H, W)
        return self.conv(x, w) + self.bias


class Synthesis(nn.Module):
    """Constant input, styled layers, and an image per level, each added to the enlarged sum so far (Figure 7b).

    The first level has one layer, each other two, the first of which doubles the size. A level's image takes the style
    of the next level's first layer, so that there are 2 * levels styles.

    Args:
        widths: channels of each level, from the seed outwards.
        seed: height and width of the first level.
        channels: channels of the image.
        style_dim: dimension d of the styles.
    """

    def __init__(self, widths: list[int], seed: tuple[int, int], channels: int, style_dim: int) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.randn(widths[0], *seed))
        self.styles, self.filter = 2 * len(widths), Filter()
        self.levels, self.images = nn.ModuleList(), nn.ModuleList()
        for level, (inputs, outputs) in enumerate(zip(widths[:1] + widths, widths)):
            side = (seed[0] << level, seed[1] << level)
            layers = [StyledLayer(outputs, outputs, style_dim, side, up=False)]
            if level:
                layers.insert(0, StyledLayer(inputs, outputs, style_dim, side, up=True))
            self.levels.append(nn.ModuleList(layers))
            self.images.append(ToImage(outputs, channels, style_dim))

    def forward(self, ws: Tensor) -> Tensor:
        """(N, styles, d) -> (N, channels, H, W) around [-1, 1], without bounds."""
        style = iter(ws.unbind(1))
        x, w, images = self.constant.expand(len(ws), -1, -1, -1), next(style), []
        for layers, to_image in zip(self.levels, self.images):
            for layer in layers:  # type: ignore[attr-defined]
                x, w = layer(x, w), next(style)
            images.append(to_image(x, w))
        return reduce(lambda image, own: self.filter.doubled(image) + own, images)
