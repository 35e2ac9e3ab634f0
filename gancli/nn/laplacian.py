"""The Laplacian pyramid (Burt & Adelson 1983) with 2x2 means on the way down and nearest neighbours on the way up.

With this pair, down(up(x)) = x, so that residuals have no low frequencies: their 2x2 means are zero. Any pair would
reconstruct the image, provided that the same one is used to build the pyramid and to collapse it.
"""

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate


def down(image: Tensor) -> Tensor:
    """Return the means of 2x2 pixels. (N, C, H, W), H and W even -> (N, C, H/2, W/2)."""
    return avg_pool2d(image, 2)


def up(image: Tensor) -> Tensor:
    """Repeat every pixel 2x2 times. (N, C, H, W) -> (N, C, 2H, 2W)."""
    return interpolate(image, scale_factor=2.0, mode="nearest")


def sizes(height: int, width: int, smallest: int) -> list[tuple[int, int]]:
    """Return height and width of every level, the coarsest first.

    Sides are halved as long as both are even and neither gets below ``smallest`` pixels.
    """
    found = [(height, width)]
    while height % 2 == width % 2 == 0 and min(height, width) // 2 >= smallest:
        height, width = height // 2, width // 2
        found.append((height, width))
    return found[::-1]


def gaussian(image: Tensor, levels: int) -> list[Tensor]:
    """Return an image at each of its levels, the coarsest first; the last is the image itself.

    Args:
        image: (N, C, H, W), with sides divisible by 2^(levels - 1).
        levels: number of levels, 1 or more.
    """
    found = [image]
    for _ in range(levels - 1):
        found.append(down(found[-1]))
    return found[::-1]


def residuals(images: Sequence[Tensor]) -> list[Tensor]:
    """Return what each level adds to the one before it: the coarsest image, then h_k = I_k - up(I_k-1)."""
    return [images[0], *(fine - up(coarse) for coarse, fine in zip(images, images[1:]))]


def build(image: Tensor, levels: int) -> list[Tensor]:
    """Return the pyramid of an image: its coarsest level, then the residuals, in [-2, 2] for an image in [-1, 1].

    See gaussian() for the arguments.
    """
    return residuals(gaussian(image, levels))


def collapse(pyramid: Sequence[Tensor]) -> Tensor:
    """Return the image of a pyramid: I_k = up(I_k-1) + h_k (Denton et al. 2015, eq. 2); the inverse of build()."""
    image = pyramid[0]
    for residual in pyramid[1:]:
        image = up(image) + residual
    return image
