"""The input layer of networks that read codes: levels without an order."""

from torch import Tensor, nn


class LevelEmbedding(nn.Module):
    """A learned vector for each level, where levels are codes, of which none lies between two others.

    Codes travel as images do, on a grid in [-1, 1]. The layer is pixelwise, and keeps a channel's numbers together.

    Args:
        levels: values that a channel takes.
        width: numbers for each of them.
    """

    def __init__(self, levels: int, width: int) -> None:
        super().__init__()
        self.levels = levels
        self.table = nn.Embedding(levels, width)

    def forward(self, image: Tensor) -> Tensor:  # (N, C, ...) in [-1, 1] -> (N, C * width, ...)
        level = ((image + 1) * ((self.levels - 1) / 2)).round().clamp(0, self.levels - 1)
        return self.table(level.long()).movedim(-1, 2).flatten(1, 2)
