"""Differentiable random augmentations of images, (N, C, H, W), sampled per image and without host synchronisation.

Unless stated otherwise, pixels from outside the image are zero, which is mid-grey in [-1, 1].
"""

import math
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

import torch
from torch import Tensor
from torch.nn.functional import affine_grid

from gancli.nn.sampled import sampled

P = ParamSpec("P")


def uniform(image: Tensor, low: float, high: float) -> Tensor:
    """Sample one number in [low, high) per image, (N, 1, 1, 1)."""
    return low + (high - low) * torch.rand(len(image), 1, 1, 1, device=image.device, dtype=image.dtype)


def jitter(image: Tensor) -> Tensor:
    """Change brightness by +U(-1/2, 1/2), saturation by xU(0, 2), contrast by xU(1/2, 3/2); Zhao et al. 2020."""
    image = image + uniform(image, -0.5, 0.5)
    grey = image.mean(1, keepdim=True)
    image = grey + uniform(image, 0, 2) * (image - grey)
    level = image.mean((1, 2, 3), keepdim=True)
    return level + uniform(image, 0.5, 1.5) * (image - level)


def translated(image: Tensor, ratio: float = 0.125) -> Tensor:
    """Shift by whole pixels, uniformly up to ``ratio`` of each side (Zhao et al. 2020)."""
    for dim in (2, 3):
        side = image.shape[dim]
        most = int(side * ratio + 0.5)
        shift = torch.randint(-most, most + 1, (len(image), 1), device=image.device)
        source = torch.arange(side, device=image.device) - shift  # (N, side)
        inside = (source >= 0) & (source < side)
        shape = (-1, 1, side, 1) if dim == 2 else (-1, 1, 1, side)
        image = image.gather(dim, source.clamp(0, side - 1).view(shape).expand_as(image)) * inside.view(shape)
    return image


def cut_out(image: Tensor, ratio: float = 0.5) -> Tensor:
    """Zero a rectangle of ``ratio`` of each side, centred anywhere in the image (Zhao et al. 2020)."""
    covered = []
    for dim in (2, 3):
        side = image.shape[dim]
        size = int(side * ratio + 0.5)
        centre = torch.randint(0, side + 1 - size % 2, (len(image), 1), device=image.device)
        offset = torch.arange(side, device=image.device) - (centre - size // 2)  # (N, side)
        covered.append((offset >= 0) & (offset < size))
    return image * ~(covered[0][:, None, :, None] & covered[1][:, None, None, :])


def maybe_cut_out(image: Tensor, p: Tensor) -> Tensor:
    """As cut_out(), with probability p, () in [0, 1]."""
    return torch.where(uniform(image, 0, 1) < p, cut_out(image), image)


def moved(image: Tensor, matrix: Tensor) -> Tensor:
    """Transform images by affine maps with bilinear interpolation, mirrored at the centres of their border pixels.

    Args:
        image: (N, C, H, W).
        matrix: (N, 3, 3), maps output to input coordinates (x, y, 1), in pixels from the centre.
    """
    height, width = image.shape[2:]
    # With align_corners, 1 is the centre of the last pixel: reflection then repeats no border pixel (numpy's reflect).
    unit = max(width - 1, 1) / 2, max(height - 1, 1) / 2, 1.0
    rows = [torch.stack([matrix[:, i, j] * (unit[j] / unit[i]) for j in range(3)], -1) for i in range(2)]
    grid = affine_grid(torch.stack(rows, -2), list(image.shape), align_corners=True)
    return sampled(image, grid)


def recoloured(image: Tensor, matrix: Tensor) -> Tensor:
    """Transform colours (red, green, blue, 1) by matrices, (N, 4, 4); grey images use the mean effect on grey."""
    linear, shift = matrix[:, :3, :3], matrix[:, :3, 3]
    if image.shape[1] == 3:
        return torch.einsum("nij,njhw->nihw", linear, image) + shift[:, :, None, None]
    scale, shift = linear.sum(2).mean(1), shift.mean(1)
    return image * scale[:, None, None, None] + shift[:, None, None, None]


def matrices(n: int, size: int, entries: dict[tuple[int, int], Tensor], like: Tensor) -> Tensor:
    """Return n identity matrices, (N, size, size), with the given entries, (N,) each, replaced."""
    rows = [
        torch.stack([entries.get((i, j), like.new_full((n,), float(i == j))) for j in range(size)], -1)
        for i in range(size)
    ]
    return torch.stack(rows, -2)  # (N, size, size)


def circulant(own: Tensor, following: Tensor, preceding: Tensor) -> Tensor:
    """Return colour matrices, (N, 4, 4), that are circulant in red, green and blue, from (N,) numbers."""
    entries = {(i, (i + step) % 3): each for i in range(3) for step, each in enumerate((own, following, preceding))}
    return matrices(len(own), 4, entries, own)


def rotation(angle: Tensor) -> Tensor:
    """Return rotations by (N,) radians, (N, 3, 3)."""
    cos, sin = angle.cos(), angle.sin()
    return matrices(len(angle), 3, {(0, 0): cos, (0, 1): -sin, (1, 0): sin, (1, 1): cos}, angle)


def scaling(x: Tensor, y: Tensor) -> Tensor:
    """Return scalings by (N,) factors, (N, 3, 3)."""
    return matrices(len(x), 3, {(0, 0): x, (1, 1): y}, x)


def shifting(x: Tensor, y: Tensor) -> Tensor:
    """Return translations by (N,) pixels, (N, 3, 3)."""
    return matrices(len(x), 3, {(0, 2): x, (1, 2): y}, x)


class Sometimes:
    """Sample the parameters of the transformations of Karras et al. 2020, each applied with probability p.

    A transformation happens to an image or it does not: its parameters, such as the two of a shift, share one coin.
    """

    def __init__(self, image: Tensor, p: Tensor) -> None:
        self.n, self.p, self.like = len(image), p, image

    def __call__(self, drawn: Tensor, rest: float, p: Tensor | None = None) -> Tensor:
        """Return ``drawn``, (N,) or (N, K), where the transformation happens, with probability p, and ``rest`` else."""
        happens = torch.rand(self.n, device=self.like.device) < (self.p if p is None else p)
        return torch.where(happens.view(-1, *[1] * (drawn.ndim - 1)), drawn, rest)

    def normal(self, std: float, *shape: int) -> Tensor:
        return std * torch.randn(self.n, *shape, device=self.like.device, dtype=self.like.dtype)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        like = self.like
        return low + (high - low) * torch.rand(self.n, *shape, device=like.device, dtype=like.dtype)

    def choice(self, options: int) -> Tensor:
        return torch.randint(options, (self.n,), device=self.like.device).to(self.like.dtype)


def _full(change: Callable[Concatenate[Tensor, P], Tensor]) -> Callable[Concatenate[Tensor, P], Tensor]:
    """Return a change of images that is computed in float32, also under autocast.

    Products of matrices would be bfloat16 there, and with them the places that pixels are read from: 0.6 pixels off
    in an image of 256, although nothing is to change.
    """

    @wraps(change)
    def changed(image: Tensor, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        with torch.autocast(image.device.type, enabled=False):
            return change(image.to(torch.promote_types(image.dtype, torch.float32)), *args, **kwargs)

    return changed


@_full
def geometry(image: Tensor, p: Tensor) -> Tensor:
    """Mirror, rotate, translate and scale, each with probability p, in a single resampling (Karras et al. 2020)."""
    some, (height, width) = Sometimes(image, p), image.shape[2:]
    inverse = scaling(1 - 2 * some(some.choice(2), 0.0), some.uniform(1, 1))
    inverse = inverse @ rotation(some(some.choice(4), 0.0) * (math.pi / 2))
    x, y = some(some.uniform(-0.125, 0.125, 2), 0.0).unbind(1)
    inverse = inverse @ shifting((x * width).round(), (y * height).round())
    scale = some(2 ** some.normal(0.2), 1.0)
    inverse = inverse @ scaling(scale, scale)
    turned = 1 - (1 - p).clamp(min=0).sqrt()  # two rotations, before and after the stretch; either occurs with p
    inverse = inverse @ rotation(some(some.uniform(-math.pi, math.pi), 0.0, turned))
    stretch = some(2 ** some.normal(0.2), 1.0)
    inverse = inverse @ scaling(stretch, 1 / stretch)
    inverse = inverse @ rotation(some(some.uniform(-math.pi, math.pi), 0.0, turned))
    x, y = some(some.normal(0.125, 2), 0.0).unbind(1)
    inverse = inverse @ shifting(x * width, y * height)
    return moved(image, inverse)


@_full
def colour(image: Tensor, p: Tensor) -> Tensor:
    """Change brightness, contrast, luma sign, hue and saturation, each with probability p (Karras et al. 2020)."""
    some = Sometimes(image, p)
    brightness, contrast = some(some.normal(0.2), 0.0), some(2 ** some.normal(0.5), 1.0)
    none = torch.zeros_like(contrast)
    matrix = circulant(contrast, none, none) @ matrices(len(image), 4, {(i, 3): brightness for i in range(3)}, image)
    flipped = some(some.choice(2), 0.0) * (-2 / 3)
    matrix = circulant(1 + flipped, flipped, flipped) @ matrix
    if image.shape[1] == 3:
        angle = some(some.uniform(-math.pi, math.pi), 0.0)  # about the grey axis
        shared, turned = (1 - angle.cos()) / 3, angle.sin() / math.sqrt(3)
        matrix = circulant(angle.cos() + shared, shared - turned, shared + turned) @ matrix
        saturation = some(2 ** some.normal(1.0), 1.0)
        shared = (1 - saturation) / 3
        matrix = circulant(saturation + shared, shared, shared) @ matrix
    return recoloured(image, matrix)
