"""Masked convolutions, whose outputs depend only on earlier pixels."""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from gancli.nn.incremental import Local, neighbours


class MaskedConv2d(nn.Conv2d, Local):
    """A convolution over the rows above, the pixels to the left, and the earlier colours of the pixel itself.

    Channels on both sides are split into ``groups`` contiguous, equal parts, one for each colour that
    the network has to order (van den Oord et al. 2016, section 3.4). At its own pixel an output of group g sees the
    inputs of the groups before g (``image=True``, mask A: the input is the image itself) or up to g (mask B). 1x1
    convolutions are masked as well. The forward pass multiplies the weight by the mask.

    Args:
        inputs: input channels.
        outputs: output channels.
        kernel: odd width of the kernel.
        groups: number of ordered colours; 1: all channels of a pixel are one group.
        image: use mask A, for layers that read the image.
    """

    bias: nn.Parameter
    mask: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, *, groups: int = 1, image: bool = False) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)
        self.border, self.image = kernel // 2, image
        self.register_buffer("mask", mask(inputs, outputs, kernel, groups, image), persistent=False)

    def forward(self, x: Tensor) -> Tensor:  # (N, inputs, H, W) -> (N, outputs, H, W)
        return conv2d(x, self.weight * self.mask, self.bias, padding=self.border)

    def taps(self, height: int, width: int) -> tuple[Tensor, tuple[int, int]]:
        return neighbours(height, width, self._seen() - self.border), (height, width)

    def matrix(self) -> tuple[Tensor, Tensor | None]:
        rows, columns = self._seen().to(self.weight.device).T
        kept = (self.weight * self.mask)[:, :, rows, columns]  # (outputs, inputs, T)
        return kept.permute(2, 1, 0).flatten(0, 1), self.bias

    def _seen(self) -> Tensor:
        """Return the positions in the kernel that are visible to any channel, (T, 2)."""
        return self.mask.amax((0, 1)).nonzero().cpu()


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
