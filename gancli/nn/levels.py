"""The input layer of networks that read codes, which are unordered levels."""

from torch import Tensor, nn


class LevelEmbedding(nn.Module):
    """A learned embedding of each level, for codes, whose levels have no order.

    Like images, codes lie on a grid in [-1, 1]. The layer is pixelwise; a channel's embedding stays contiguous.

    Args:
        levels: number of values that a channel takes.
        width: dimensions of the embedding.
    """

    def __init__(self, levels: int, width: int) -> None:
        super().__init__()
        self.levels = levels
        self.table = nn.Embedding(levels, width)

    def forward(self, image: Tensor) -> Tensor:  # (N, C, ...) in [-1, 1] -> (N, C * width, ...)
        level = ((image + 1) * ((self.levels - 1) / 2)).round().clamp(0, self.levels - 1)
        return self.table(level.long()).movedim(-1, 2).flatten(1, 2)
