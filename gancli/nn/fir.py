"""Resampling by the low-pass filter [1, 3, 3, 1] of StyleGAN2: Karras et al. 2020, section 4 and their release.

Where an image is enlarged this is bilinear interpolation, away from the border. A strided or transposed convolution
beside the filter does a quarter of the work of a convolution at the full size, for the same function.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d

TAPS = (1.0, 3.0, 3.0, 1.0)


class Filter(nn.Module):
    """A 4x4 low-pass filter of each channel, whose taps sum to 1, with zeros around the image."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        taps = torch.tensor(TAPS)
        kernel = torch.outer(taps, taps) / taps.sum() ** 2
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: Tensor, padding: int, gain: float = 1.0) -> Tensor:
        """(N, C, H, W) -> (N, C, H + 2 padding - 3, W + 2 padding - 3)."""
        return conv2d(x, self._taps(x, gain), padding=padding, groups=x.shape[1])

    def doubled(self, x: Tensor) -> Tensor:
        """Enlarge an image. (N, C, H, W) -> (N, C, 2H, 2W)."""
        return conv_transpose2d(x, self._taps(x, 4.0), stride=2, padding=1, groups=x.shape[1])

    def _taps(self, x: Tensor, gain: float) -> Tensor:
        return (self.kernel * gain).to(x.dtype).expand(x.shape[1], 1, -1, -1)


class DownConv2d(nn.Module):
    """An equalized convolution of the filtered image with stride 2, without a bias. (N, C, H, W) -> (N, C', H/2, W/2).

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        kernel: side of the kernel, 1 or 3.
        gain: standard deviation of the outputs for unit inputs.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.filter, self.scale, self.padding = Filter(), gain * (inputs * kernel**2) ** -0.5, 1 + kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(self.filter(x, self.padding), self.weight * self.scale, stride=2)
