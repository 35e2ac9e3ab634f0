"""PatchGAN: a discriminator that classifies every patch of an image (Isola et al. 2017, section 3.2.2)."""

from collections.abc import Callable

from torch import nn

Norm = Callable[[int], nn.Module]  # number of channels -> layer


def patchgan(channels: int, width: int, layers: int, norm: Norm) -> nn.Sequential:
    """Return a network from (N, channels, H, W) to a map of logits, (N, 1, H', W'), one per patch.

    4x4 convolutions: ``layers`` with stride 2, whose widths double up to 8 times the first, one with stride 1, and one
    to the logits; leaky ReLU 0.2, no norm after the first convolution, no bias before a norm.

    Args:
        channels: input channels, including those of a condition.
        width: channels of the first layer.
        layers: number of convolutions with stride 2, 1 to 4.
        norm: constructs a normalisation layer.

    Raises:
        ValueError: a number is out of range.
    """
    if not 1 <= layers <= 4 or width < 1:
        raise ValueError(f"layers={layers} must be from 1 to 4 and width={width} 1 or more")
    widths = [width * min(2**i, 8) for i in range(layers + 1)]
    net: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    for i, (before, after) in enumerate(zip(widths, widths[1:]), 1):
        stride = 2 if i < layers else 1
        net += [nn.Conv2d(before, after, 4, stride, 1, bias=False), norm(after), nn.LeakyReLU(0.2)]
    return nn.Sequential(*net, nn.Conv2d(widths[-1], 1, 4, 1, 1))


def receptive_field(layers: int) -> int:
    """Return the side of the receptive field of a logit, in pixels: 16, 34, 70 or 142 for 1 to 4 layers."""
    field = 1
    for stride in (1, 1, *[2] * layers):  # from the logits back to the image
        field = (field - 1) * stride + 4
    return field


def layers_for(side: int) -> int:
    """Return the largest number of layers, 1 to 3, whose receptive field is at most 3/5 of the image.

    That is 3 from 128 pixels on, as in the papers, 2 for 64 pixels and 1 for 32.
    """
    return max(n for n in (1, 2, 3) if n == 1 or receptive_field(n) <= 0.6 * side)


def smallest(layers: int) -> int:
    """Return the smallest side of an image, in pixels, for which every norm sees more than one value per channel."""
    return 3 * 2**layers
