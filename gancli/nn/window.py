"""Convolutions over a window above and to the left of their pixel, at one resolution or between two."""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, pad

from gancli.nn.incremental import Local, neighbours


class WindowConv2d(Local):
    """A convolution whose kernel covers ``top`` rows above its pixel and ``left`` columns to its left, and so on.

    Row r reads the rows r - top .. r - top + height - 1, columns likewise; with a stride, of r * stride. Where the
    window holds the pixel itself and ``groups`` colours are ordered, the pixel's own channels are masked: contiguous,
    equal parts of the inputs and of each of ``chunks`` equal parts of the outputs (the two halves of a gate) belong to
    one colour each (van den Oord et al. 2016, section 3.4; ``image``: mask A).

    Args:
        inputs: input channels.
        outputs: output channels.
        kernel: height and width of the window.
        top: rows above.
        left: columns to the left.
        stride: output pixels are every so many rows and columns apart.
        groups: colours to order; 1: a pixel's channels are one.
        chunks: parts of the outputs that hold all the colours each.
        image: whether the input is the image.
        bias: whether there is one.
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
