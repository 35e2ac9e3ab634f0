"""Minibatch standard deviation: Karras et al. 2018, Progressive Growing of GANs."""

import torch
from torch import Tensor, nn


class MinibatchStd(nn.Module):
    """Append a feature map with the variation within a group of images, so that the discriminator notices a lack of it.

    Its value is the standard deviation over the group, averaged over all features and pixels: one number per group.
    Of several processes that train together, each makes groups of its own images, as in the authors' release.

    Args:
        group: images per group; if it does not divide the batch size, the largest smaller number that does is used.

    Raises:
        ValueError: ``group`` is below 1.
    """

    def __init__(self, group: int) -> None:
        super().__init__()
        if group < 1:
            raise ValueError(f"minibatch_std={group}: the group must hold 1 or more images")
        self.group = group

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W) -> (N, C + 1, H, W)
        n = len(x)
        size = next(g for g in range(min(self.group, n), 0, -1) if n % g == 0)
        groups = x.unflatten(0, (size, -1))  # images i, i + N / size, ... form a group
        spread = (groups.var(0, correction=0) + 1e-8).sqrt().mean((1, 2, 3))  # (N / size,)
        return torch.cat([x, spread.repeat(size)[:, None, None, None].expand(-1, 1, *x.shape[2:])], 1)


def spread(group: int) -> list[MinibatchStd]:
    """Return a list of one layer, or none for group=0; its length is the number of channels that are added.

    Raises:
        ValueError: ``group`` is negative.
    """
    return [MinibatchStd(group)] if group else []
