"""A history of generated images for the discriminator (Shrivastava et al. 2017, section 2.3)."""

import torch
from torch import Tensor, nn


class Pool(nn.Module):
    """Up to ``capacity`` earlier images, kept on the device and saved and restored like weights.

    Until the pool is full, images are stored and returned. After that, each image is swapped with probability 1/2 for
    an earlier one, which is returned instead (Zhu et al. 2017, section 4). The images of one batch take different
    places. No operation synchronises with the device. Of several processes that train together, each has its own pool,
    which a checkpoint keeps; one that joins later begins with that of the first.

    Args:
        capacity: number of images; 0 disables the pool.
        shape: (C, H, W) of an image.
    """

    per_process = True  # its buffers differ between processes
    images: Tensor
    filled: Tensor

    def __init__(self, capacity: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        if capacity < 0:
            raise ValueError(f"pool={capacity} must be 0 or more images")
        self.capacity = capacity
        # Images that are not stored are written to a dummy last row, so that the number of writes is fixed.
        self.register_buffer("images", torch.zeros(capacity + 1, *shape))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Exchange images, (N, C, H, W), with the pool and return as many, detached."""
        if not self.capacity:
            return images.detach()
        return torch.cat([self._exchange(part) for part in images.detach().split(self.capacity)])

    def _exchange(self, images: Tensor) -> Tensor:
        n, images = len(images), images.to(self.images.dtype)
        free = self.filled + torch.arange(
            n, device=images.device
        )  # the next free places; past the end once the pool is full
        earlier = torch.rand(self.capacity, device=images.device).argsort()[:n]  # places in random order
        filling = free < self.capacity
        swapped = ~filling & (torch.rand(n, device=images.device) < 0.5) & (earlier < self.filled)
        returned = torch.where(swapped.view(-1, 1, 1, 1), self.images[earlier], images)
        place = torch.where(filling, free, torch.where(swapped, earlier, self.capacity))
        self.images.index_copy_(0, place, images)
        self.filled += filling.sum()
        return returned
