"""PatchGAN: a discriminator that judges every patch of a picture on its own (Isola et al. 2017, section 3.2.2)."""

from collections.abc import Callable

from torch import nn

Norm = Callable[[int], nn.Module]  # of so many channels


def patchgan(channels: int, width: int, layers: int, norm: Norm) -> nn.Sequential:
    """Return a network from (N, channels, H, W) to a map of logits, (N, 1, H', W'), one per patch.

    4x4 convolutions: ``layers`` of stride 2, whose widths double up to 8 times the first, one of stride 1, and one to
    the logits; leaky ReLU .2, no norm after the first. A bias that a norm would take out again is not there.

    Args:
        channels: of what is judged; with a condition both together.
        width: channels of the first layer.
        layers: 1 to 4.
        norm: makes the layer between convolution and activation.

    Raises:
        ValueError: a number outside its range.
    """
    if not 1 <= layers <= 4 or width < 1:
        raise ValueError(f"layers={layers} must be from 1 to 4, and width={width} 1 or more")
    widths = [width * min(2**i, 8) for i in range(layers + 1)]
    net: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    for i, (before, after) in enumerate(zip(widths, widths[1:]), 1):
        stride = 2 if i < layers else 1
        net += [nn.Conv2d(before, after, 4, stride, 1, bias=False), norm(after), nn.LeakyReLU(0.2)]
    return nn.Sequential(*net, nn.Conv2d(widths[-1], 1, 4, 1, 1))


def receptive_field(layers: int) -> int:
    """Return the side of the patch that one logit sees, in pixels: 16, 34, 70 or 142 for 1 to 4 layers."""
    field = 1
    for stride in (1, 1, *[2] * layers):  # from the logits back to the picture
        field = (field - 1) * stride + 4
    return field


def layers_for(side: int) -> int:
    """Return the most layers, 3 at most, whose patches are no larger than 3/5 of a picture, 1 at least.

    That is 3 for 128 pixels and more, as in the papers, 2 for 64, 1 for 32.
    """
    return max(n for n in (1, 2, 3) if n == 1 or receptive_field(n) <= 0.6 * side)


def smallest(layers: int) -> int:
    """Return the smallest side of a picture, in pixels, that leaves every norm more than one value per channel."""
    return 3 * 2**layers
