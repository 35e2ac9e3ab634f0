"""Negative log-likelihood of a whole split: every image counts once, the last partial batch included."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gancli.metrics.features import Images


@torch.no_grad()
def nll(
    nats: Callable[[Tensor, Tensor | None], Tensor],
    images: Images,
    *,
    batch_size: int,
    device: torch.device,
    density: bool = False,
) -> dict[str, float]:
    """Average -log p(x) over a split, summed in float64: the same whatever the batch size and the images' order.

    Args:
        nats: from images (N, C, H, W) float32 in [-1, 1] and labels (N,) or None to (N,) nats.
        images: the split. Its pixels are taken as they are: of a training split that is binarised at every access,
            give a fixed draw (``gancli.data.levels.drawn``).
        density: the model gives a density on [0, 1]^D, which has nats but no bits per dimension of its own.

    Returns:
        ``nats``, the mean over the images of finite likelihood; ``nats_se``, its standard error; ``impossible``, the
        share of images of likelihood zero, which a mean would hide; and ``bits_per_dim`` of a probability.
    """
    total = square = torch.zeros((), dtype=torch.float64, device=device)
    finite = torch.zeros((), dtype=torch.int64, device=device)
    for start in range(0, len(images), batch_size):
        rows = slice(start, start + batch_size)
        image = torch.from_numpy(images.pixels[rows]).to(device).float().div_(127.5).sub_(1.0)
        label = None if images.labels is None else torch.from_numpy(images.labels[rows]).to(device)
        values = nats(image, label).double()
        possible = values != math.inf  # NaN stays, and shows
        kept = torch.where(possible, values, 0.0)
        total, square, finite = total + kept.sum(), square + kept.square().sum(), finite + possible.sum()
    n = int(finite)
    mean = float(total) / n if n else math.inf
    spread = max(float(square) / n - mean**2, 0.0) * n / (n - 1) if n > 1 else math.nan
    result = {"nats": mean, "nats_se": math.sqrt(spread / n) if n > 1 else math.nan, "impossible": 1 - n / len(images)}
    if not density:
        result["bits_per_dim"] = mean / (math.log(2) * math.prod(images.pixels.shape[1:]))
    return result
