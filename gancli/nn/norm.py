"""Batch norm with and without class conditioning, behind one signature."""

from torch import Tensor, nn


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm that ignores the label."""

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        return super().forward(x)


class ConditionalBatchNorm2d(nn.Module):
    """Batch norm with a scale and a shift per class and channel (Dumoulin et al. 2017; Miyato & Koyama 2018).

    Mean and variance are taken over the whole batch. Scales are initialised with 1, shifts with 0.

    Args:
        channels: channels of the input.
        classes: number of classes.
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
