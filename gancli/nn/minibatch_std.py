"""Minibatch standard deviation: Karras et al. 2018, Progressive Growing of GANs."""

import torch
from torch import Tensor, nn


class MinibatchStd(nn.Module):
    """Adds a map that tells how much the images of a group differ, so that a lack of variety can be seen.

    For each feature and place the standard deviation over the group, then the mean of it all: one number per group.

    Args:
        group: images per group; of a batch that it does not divide, the largest number below that does.
    """

    def __init__(self, group: int) -> None:
        super().__init__()
        if group < 1:
            raise ValueError(f"a group of minibatch_std={group} images: it must be 1 or more")
        self.group = group

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W) -> (N, C + 1, H, W)
        n = len(x)
        size = next(g for g in range(min(self.group, n), 0, -1) if n % g == 0)
        groups = x.unflatten(0, (size, -1))  # images i, i + N / size, ... are a group
        spread = (groups.var(0, correction=0) + 1e-8).sqrt().mean((1, 2, 3))  # (N / size,)
        return torch.cat([x, spread.repeat(size)[:, None, None, None].expand(-1, 1, *x.shape[2:])], 1)


def spread(group: int) -> list[MinibatchStd]:
    """Return the layer as a list of one, and none for groups of 0: so many channels more has the next layer.

    Raises:
        ValueError: a negative group.
    """
    return [MinibatchStd(group)] if group else []
