"""Masked convolutions: outputs see earlier pixels only; and their evaluation at a few pixels from cached inputs."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear


class MaskedConv2d(nn.Conv2d):
    """A convolution that sees the rows above, the pixels to the left, and of its own pixel the earlier colours.

    Channels on both sides are split into ``groups`` contiguous, equal parts, one for each colour that
    the network has to order (van den Oord et al. 2016, section 3.4). At its own pixel an output of group g sees the
    inputs of the groups before g (``image=True``, mask A: the input is the image itself) or up to g (mask B). 1x1 ones
    are masked just the same. The mask multiplies the weight in the forward pass: optimizers see one tensor.

    Args:
        inputs: input channels.
        outputs: output channels.
        kernel: odd width of the kernel.
        groups: colours to order; 1: a pixel's channels are one.
        image: mask A, for layers that read the image.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, *, groups: int = 1, image: bool = False) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)
        self.image = image
        self.register_buffer("mask", mask(inputs, outputs, kernel, groups, image), persistent=False)
        self.cache: Cache | None = None  # there while cached() lasts

    def forward(self, x: Tensor) -> Tensor:  # (N, inputs, H, W) -> (N, outputs, H, W); see Cache for the other shape
        if self.cache is not None:
            return self.cache(x)
        return conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)


def mask(inputs: int, outputs: int, kernel: int, groups: int, image: bool) -> Tensor:
    """Return the mask of MaskedConv2d, (outputs, inputs, kernel, kernel) of zeros and ones."""
    middle = kernel // 2
    found = torch.zeros(outputs, inputs, kernel, kernel)
    found[:, :, :middle] = 1
    found[:, :, middle, :middle] = 1
    of_input, of_output = (torch.arange(n) * groups // n for n in (inputs, outputs))
    seen = of_input < of_output[:, None] if image else of_input <= of_output[:, None]
    found[:, :, middle, middle] = seen.float()
    return found


class Cache:
    """The inputs that a masked convolution has seen so far, to evaluate it at a few pixels.

    While it is in place the layer takes and gives (P * N, channels, 1, 1): the P pixels of ``at``, N images each.
    Only the kernel's unmasked taps are multiplied.

    Args:
        conv: the layer; its weight is read once.
        n: images.
        height, width: of the image.
    """

    def __init__(self, conv: MaskedConv2d, n: int, height: int, width: int) -> None:
        weight, border = (conv.weight * conv.mask).detach(), conv.padding[0]
        self.n, self.bias, self.border, self.stride = n, conv.bias, border, width + 2 * border
        taps = conv.mask.amax((0, 1)).nonzero() - border  # (T, 2), rows and columns from the pixel
        self.offsets = taps[:, 0] * self.stride + taps[:, 1]
        kept = weight[:, :, taps[:, 0] + border, taps[:, 1] + border]  # (outputs, inputs, T)
        self.weight = kept.transpose(1, 2).flatten(1)  # (outputs, T * inputs)
        rows = (height + 2 * border) * self.stride if border else 0  # a 1x1 layer reads nothing but the present
        self.inputs = weight.new_zeros(rows, n, conv.in_channels)
        self.pixels = self.offsets[:0]  # of `at`, as rows of `inputs`

    def at(self, rows: Tensor, columns: Tensor) -> None:
        """Choose the pixels that the next calls are about, (P,) int64 each."""
        self.pixels = (rows + self.border) * self.stride + columns + self.border

    def store(self, x: Tensor) -> None:
        """Remember the layer's input at the chosen pixels, (P * N, inputs, 1, 1)."""
        self.inputs.index_copy_(0, self.pixels, x.view(len(self.pixels), self.n, -1))

    def __call__(self, x: Tensor) -> Tensor:
        if not self.border:
            return linear(x.flatten(1), self.weight, self.bias)[:, :, None, None]
        self.store(x)
        places = (self.pixels[:, None] + self.offsets).flatten()  # (P * T,)
        seen = self.inputs.index_select(0, places).unflatten(0, (len(self.pixels), -1))  # (P, T, N, inputs)
        seen = seen.transpose(1, 2).reshape(len(x), -1)
        return linear(seen, self.weight, self.bias)[:, :, None, None]


@contextmanager
def cached(network: nn.Module, n: int, height: int, width: int) -> Iterator["Caches"]:
    """Let the masked convolutions of ``network`` work from caches of n images; its other layers must be pixelwise."""
    layers = [m for m in network.modules() if isinstance(m, MaskedConv2d)]
    try:
        for layer in layers:
            layer.cache = Cache(layer, n, height, width)
        yield Caches([layer.cache for layer in layers], [m.cache for m in layers if m.image and m.padding[0]])
    finally:
        for layer in layers:
            layer.cache = None


class Caches:
    """The caches of a network."""

    def __init__(self, every: list[Cache], of_image: list[Cache]) -> None:
        self.every, self.of_image = every, of_image

    def at(self, rows: Tensor, columns: Tensor) -> None:
        """Go on to other pixels, (P,) int64 each."""
        for cache in self.every:
            cache.at(rows, columns)

    def store(self, image: Tensor) -> None:
        """Remember the chosen pixels of the image, (P * N, C, 1, 1), once they are known."""
        for cache in self.of_image:
            cache.store(image)


def raster(network: nn.Module, height: int, width: int) -> list[tuple[list[int], list[int]]]:
    """Return the pixels one by one, row by row, as (rows, columns): right for any network."""
    return [([row], [column]) for row in range(height) for column in range(width)]


def wavefront(network: nn.Module, height: int, width: int) -> list[tuple[list[int], list[int]]]:
    """Return groups of pixels of which none depends on another of its group, each after all that it depends on.

    If no tap looks further right than s - 1 columns per row upwards, pixels of equal column + s * row are independent:
    width + s * (height - 1) groups in place of height * width pixels. s is read off the masks.
    """
    reach = 0
    for layer in (m for m in network.modules() if isinstance(m, MaskedConv2d)):
        for dy, dx in (layer.mask.amax((0, 1)).nonzero() - layer.padding[0]).tolist():
            reach = max(reach, dx // -dy) if dy < 0 else reach
    slope = reach + 1
    fronts = []
    for t in range(width + slope * (height - 1)):
        rows = [r for r in range(height) if 0 <= t - slope * r < width]
        fronts.append((rows, [t - slope * r for r in rows]))
    return fronts
