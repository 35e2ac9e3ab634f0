"""Equalized learning rate and pixel norm: Karras et al. 2018, Progressive Growing of GANs, sections 4.1 and 4.2."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

SQRT2 = math.sqrt(2)  # the gain that keeps the variance of a layer before a (leaky) ReLU: He et al. 2015


class EqualizedLinear(nn.Module):
    """A linear layer whose weights are N(0, 1) and scaled at run time, so that Adam changes all layers at one rate.

    The weight in use is ``weight * gain * lr_mult / sqrt(inputs)``, with ``weight`` drawn from N(0, 1 / lr_mult^2):
    unit inputs give outputs of standard deviation ``gain``, whatever ``lr_mult`` is.

    Args:
        inputs: number of inputs.
        outputs: number of outputs.
        gain: standard deviation of the outputs for unit inputs.
        lr_mult: factor on the layer's effective learning rate (.01 in StyleGAN's mapping network).
        bias: initial bias; None for no bias.
    """

    def __init__(
        self, inputs: int, outputs: int, *, gain: float = 1.0, lr_mult: float = 1.0, bias: float | None = 0.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_mult)
        self.bias = None if bias is None else nn.Parameter(torch.full((outputs,), bias / lr_mult))
        self.scale, self.lr_mult = gain * lr_mult / math.sqrt(inputs), lr_mult

    def forward(self, x: Tensor) -> Tensor:  # (N, inputs) -> (N, outputs)
        bias = None if self.bias is None else self.bias * self.lr_mult
        return functional.linear(x, self.weight * self.scale, bias)


class EqualizedConv2d(nn.Module):
    """A convolution that keeps the size of its input, with weights N(0, 1) scaled by ``gain / sqrt(fan_in)``.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        kernel: odd side of the kernel; the input is padded by half of it.
        gain: standard deviation of the outputs for unit inputs, away from the border.
        bias: whether there is a bias, which starts at 0.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, gain: float = 1.0, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale, self.padding = gain / math.sqrt(inputs * kernel * kernel), kernel // 2

    def forward(self, x: Tensor) -> Tensor:  # (N, inputs, H, W) -> (N, outputs, H, W)
        return functional.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


class PixelNorm(nn.Module):
    """Divide the channels of each pixel by their root mean square (section 4.2); latents (N, C) alike."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()
