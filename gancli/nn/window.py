"""Convolutions over a window above and to the left of a pixel, optionally with a change of resolution."""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, pad

from gancli.nn.incremental import Local, neighbours


class WindowConv2d(Local):
    """A convolution whose kernel starts ``top`` rows above and ``left`` columns to the left of its pixel.

    Output row r reads the input rows s - top .. s - top + height - 1 with s = r * stride; columns likewise. If the
    window contains the pixel itself, its channels are masked by colour: the inputs, and each of ``chunks`` equal parts
    of the outputs (e.g. the two halves of a gate), are split into ``groups`` contiguous, equal parts, one per colour
    (van den Oord et al. 2016, section 3.4).

    Args:
        inputs: input channels.
        outputs: output channels.
        kernel: height and width of the window.
        top: rows above.
        left: columns to the left.
        stride: input rows and columns per output pixel.
        groups: number of ordered colours; 1: all channels of a pixel are one group.
        chunks: parts of the outputs that contain all colours each.
        image: use mask A, for layers that read the image.
        bias: whether to add a bias.
    """

    mask: Tensor | None

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, int] = (1, 1),
        top: int = 0,
        left: int = 0,
        *,
        stride: int = 1,
        groups: int = 1,
        chunks: int = 1,
        image: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        layer = nn.Conv2d(inputs, outputs, kernel, bias=bias)  # for its initialisation
        self.weight, self.bias = layer.weight, layer.bias
        self.size, self.top, self.left, self.stride = kernel, top, left, stride
        own = torch.ones(outputs, inputs, *kernel)
        if 0 <= top < kernel[0] and 0 <= left < kernel[1]:
            of_input = torch.arange(inputs) * groups // inputs
            of_output = (torch.arange(outputs // chunks) * groups // (outputs // chunks)).repeat(chunks)
            seen = of_input < of_output[:, None] if image else of_input <= of_output[:, None]
            own[:, :, top, left] = seen.float()
        self.register_buffer("mask", None if own.all() else own, persistent=False)

    def kernel(self) -> Tensor:
        """Return the weight that is applied, (outputs, inputs, height, width)."""
        return self.weight if self.mask is None else self.weight * self.mask

    def forward(self, x: Tensor) -> Tensor:  # (N, inputs, H, W) -> (N, outputs, H / stride, W / stride)
        (height, width), top, left = self.size, self.top, self.left
        return conv2d(pad(x, (left, width - 1 - left, top, height - 1 - top)), self.kernel(), self.bias, self.stride)

    def taps(self, height: int, width: int) -> tuple[Tensor, tuple[int, int]]:
        rows, columns = (torch.arange(n) for n in self.size)
        offsets = torch.cartesian_prod(rows - self.top, columns - self.left).view(-1, 2)
        table = neighbours(height, width, offsets).view(height, width, -1)[:: self.stride, :: self.stride]
        return table.flatten(0, 1), (table.shape[0], table.shape[1])

    def matrix(self) -> tuple[Tensor, Tensor | None]:
        return self.kernel().permute(2, 3, 1, 0).flatten(0, 2), self.bias


class WindowTransposed2d(WindowConv2d):
    """The transposed convolution that doubles height and width: pixel (r, c) adds to (2r + i, 2c - left + j)."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int], left: int = 0) -> None:
        super().__init__(inputs, outputs, kernel, left=left)
        self.mask = None

    def forward(self, x: Tensor) -> Tensor:  # (N, inputs, H, W) -> (N, outputs, 2H, 2W)
        h, w = x.shape[2:]
        made = conv_transpose2d(x, self.kernel().transpose(0, 1), self.bias, stride=2)
        right, bottom = 2 * w + self.left - made.shape[3], 2 * h - made.shape[2]
        return pad(made, (-self.left, right, 0, bottom))

    def taps(self, height: int, width: int) -> tuple[Tensor, tuple[int, int]]:
        rows, columns = torch.arange(2 * height), torch.arange(2 * width)
        i, j = torch.cartesian_prod(*(torch.arange(n) for n in self.size)).T
        r, c = rows[:, None, None] - i, columns[None, :, None] + self.left - j  # twice the pixels that are read
        fits = (r % 2 == 0) & (c % 2 == 0) & (r >= 0) & (c >= 0) & (r < 2 * height) & (c < 2 * width)
        return torch.where(fits, r // 2 * width + c // 2, -1).flatten(0, 1), (2 * height, 2 * width)
