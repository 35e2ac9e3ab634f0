"""Batch norm that may know the class, with one signature for both kinds."""

from torch import Tensor, nn


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm that is given a label and does not look at it."""

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        return super().forward(x)


class ConditionalBatchNorm2d(nn.Module):
    """Batch norm with a scale and a shift per class and channel (Dumoulin et al. 2017; Miyato & Koyama 2018).

    Mean and variance are those of the batch, whatever its classes. All scales start at 1, all shifts at 0.

    Args:
        channels: of the input.
        classes: rows of the two tables.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.scale, self.shift = nn.Embedding(classes, channels), nn.Embedding(classes, channels)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:  # (N, C, H, W), (N,) -> (N, C, H, W)
        scale, shift = (table(label)[:, :, None, None] for table in (self.scale, self.shift))
        return scale * self.norm(x) + shift
