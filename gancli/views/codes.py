"""Images, their codes as pictures, and what is decoded of the codes.

gancli sample ckpt=latest view=codes
"""

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
        index = torch.cat([model.tokens(part) for part, _ in parts(batch_size, image, None)])
        means = torch.cat([model.picture(model.embed(part)) for part in index.split(batch_size)])
        colours = palette(model)
        squares = (colours[index].movedim(-1, 1) * 255).round().to(torch.uint8)
        return {"": Picture(panel(quantise(image), squares, quantise(means)), squares.cpu())}


def palette(model: DiscreteLatents) -> Tensor:
    """Return a colour for each code, (K, 3) in [0, 1]: its vector's principal components, scaled to their ranges."""
    index = torch.arange(model.levels, device=model.device)
    vectors = model.embed(index.view(-1, 1, 1)).flatten(1).float()  # (K, D)
    centred = vectors - vectors.mean(0)
    values, directions = torch.linalg.eigh(centred.T @ centred)  # ascending
    found = centred @ directions.flip(1)[:, :3]
    found = torch.cat([found, found.new_zeros(len(found), 3 - found.shape[1])], 1)
    low, high = found.amin(0), found.amax(0)
    return torch.where(high > low, (found - low) / (high - low).clamp(min=1e-12), 0.5)


def panel(image: Tensor, squares: Tensor, means: Tensor) -> np.ndarray:
    """Return a picture with three rows for every COLUMNS images, all (N, ..., uint8): image, codes, mean."""
    sides = [large // small for large, small in zip(image.shape[2:], squares.shape[2:])]
    squares = squares.repeat_interleave(sides[0], 2).repeat_interleave(sides[1], 3)
    blocks: list[Tensor] = []
    names: list[str] = []
    for rows in zip(*(each.expand(-1, 3, -1, -1).split(COLUMNS) for each in (image, squares, means))):
        missing = COLUMNS - len(rows[0]) if blocks else 0  # an incomplete block below another is filled up
        for row in rows:
            blocks += [row, row.new_full((missing, *row.shape[1:]), 255)]
        names += ["image", "codes", "mean"]
    return make_grid(torch.cat(blocks), min(COLUMNS, len(image)), names=names)
