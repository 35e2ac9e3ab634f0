"""Images, their codes as pictures, and what is decoded of the codes.

gancli sample ckpt=latest view=codes
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from gancli.data.spec import quantise
from gancli.models.base import Model
from gancli.models.discrete import DiscreteLatents
from gancli.views.base import SHOWN, Picture, RunData, View
from gancli.views.grids import make_grid
from gancli.views.real import check_there, parts, real_images

COLUMNS = 10  # images in a row


class Codes(View):
    """A column per image of the data: the image, a square for each of its codes, and the mean of p(x|z).

    A model with several maps of codes has a row of squares for each.

    A code's colour is its vector in the three directions in which the vectors of all codes vary most, so that codes
    alike to the decoder have colours alike.

    Args:
        split: train, validation or test; None: validation if the run held one out, else test.
    """

    needs = "a model with maps of codes"

    def __init__(self, split: str | None = None) -> None:
        self.split = split

    @classmethod
    def suits(cls, model: Model) -> bool:
        return isinstance(model, DiscreteLatents)

    def check_number(self, n: int, data: RunData) -> None:
        check_there(n, data, self.split)

    def amount(self, n: int) -> tuple[str, int]:
        return f"n={n}", n

    @torch.no_grad()
    def draw(self, model: Model, data: RunData, *, n: int, seed: int, batch_size: int) -> dict[str, Picture]:
        assert isinstance(model, DiscreteLatents)
        rows = range(min(n, len(data.split(self.split or data.held_out)), SHOWN))
        image, _ = real_images(model, data, rows, self.split, label=0 if model.conditional else None)
        squares: dict[str, list[Tensor]] = {name: [] for name in model.sizes}
        means, colours = [], {name: palette(each) for name, each in model.vectors().items()}
        for part, _ in parts(batch_size, image, None):
            index = model.tokens(part)
            means.append(quantise(model.picture(model.embed(index))))
            for name, codes in model.by_level(index).items():
                squares[name].append((colours[name][codes].movedim(-1, 1) * 255).round().to(torch.uint8))
        maps = {f"codes {name}".strip(): torch.cat(each) for name, each in squares.items()}
        *_, finest = maps.values()
        return {"": Picture(panel({"image": quantise(image), **maps, "mean": torch.cat(means)}), finest.cpu())}


def palette(vectors: Tensor) -> Tensor:
    """Return a colour for each code, (K, 3) in [0, 1]: the principal components of vectors (K, D) in their ranges."""
    vectors = vectors.float()
    centred = vectors - vectors.mean(0)
    values, directions = torch.linalg.eigh(centred.T @ centred)  # ascending
    found = centred @ directions.flip(1)[:, :3]
    found = torch.cat([found, found.new_zeros(len(found), 3 - found.shape[1])], 1)
    low, high = found.amin(0), found.amax(0)
    return torch.where(high > low, (found - low) / (high - low).clamp(min=1e-12), 0.5)


def panel(rows: Mapping[str, Tensor]) -> np.ndarray:
    """Return a picture with all rows for every COLUMNS images, (N, C, h, w) uint8 each, in the size of the first.

    Maps whose sides do not divide those of the images reach beyond them, and what lies there is cut off.
    """
    height, width = next(iter(rows.values())).shape[2:]

    def enlarged(each: Tensor) -> Tensor:
        sides = [-(-large // small) for large, small in zip((height, width), each.shape[2:])]
        each = each.repeat_interleave(sides[0], 2).repeat_interleave(sides[1], 3)[:, :, :height, :width]
        return each.expand(-1, 3, -1, -1)

    shown = [enlarged(each) for each in rows.values()]
    blocks: list[Tensor] = []
    names: list[str] = []
    for block in zip(*(each.split(COLUMNS) for each in shown)):
        missing = COLUMNS - len(block[0]) if blocks else 0  # an incomplete block below another is filled up
        for row in block:
            blocks += [row, row.new_full((missing, *row.shape[1:]), 255)]
        names += rows
    return make_grid(torch.cat(blocks), min(COLUMNS, len(shown[0])), names=names)
