"""The levels of a network that grows, each at its own size.

gancli sample ckpt=latest view=growth
"""

from typing import Annotated

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from gancli.data.spec import quantise, sides
from gancli.models.base import Model
from gancli.models.growing import GrowingGAN
from gancli.views.base import Picture, RunData, View
from gancli.views.grids import TILE, to_pil

MOST, GAP, LETTERS = 10, 2, 12  # columns; pixels between images; height of the letters in pixels
MARGIN = 130  # pixels for the text on the left


class GrowthRows(View):
    """A row per level and a column per latent: every level's image through its own last layer, as large as it is.

    The text says from which share of the run on a level is trained in full, or how far it is faded in. Once a level is
    complete, the layer that makes images of the one before is no longer trained, but those below it are.

    Args:
        columns: number of latents, 1 to 10; fewer if n is smaller.

    Raises:
        ValueError: ``columns`` is out of its range.
    """

    needs = "a model that grows"

    def __init__(self, columns: Annotated[int, ">= 1", "<= 10"] = MOST) -> None:
        if not 1 <= columns <= MOST:
            raise ValueError(f"columns={columns} must be 1 to {MOST}")
        self.columns = columns

    @classmethod
    def suits(cls, model: Model) -> bool:
        return isinstance(model, GrowingGAN) and model.growth.first < model.growth.last

    @torch.no_grad()
    def draw(self, model: Model, data: RunData, *, n: int, seed: int, batch_size: int) -> dict[str, Picture]:
        assert isinstance(model, GrowingGAN)
        generator = torch.Generator(model.device).manual_seed(seed)
        z = model.latent(min(n, self.columns), generator)
        rows = [quantise(each).cpu() for each in model.images_by_level(z)]
        sizes = [sides(*row.shape[2:]) for row in rows]
        names = [f"{size}/{i:06d}" for size, row in zip(sizes, rows) for i in range(len(row))]
        return {"": Picture(picture(model, rows), (image for row in rows for image in row), names=names)}


def heads(model: GrowingGAN) -> list[str]:
    """Return a line for every level in use: its size, and since when it is trained in full, or its weight."""
    (net, growth), lines = (model.grower, model.growth), []
    for level in range(growth.first, net.stage.level + 1):
        height, width = (side >> (growth.last - level) for side in model.spec.shape[1:])
        fading = net.stage.fading and level == net.stage.level
        state = f"fading in, {float(net.alpha):.0%}" if fading else f"from {growth.begins(level):.0%} on"
        lines.append(f"{sides(height, width)} {state}")
    return lines


def picture(model: GrowingGAN, rows: list[Tensor]) -> np.ndarray:
    """Return the rows, [(N, C, H, W)] uint8, with their heads; as large with as many levels as the network will have.

    Levels that have not begun are left white, so that the pictures of a run make an animation.
    """
    height, width = model.spec.shape[1:]
    zoom = max(1, round(TILE / max(height, width)))
    heights = [(height >> i) * zoom + GAP for i in reversed(range(model.growth.last - model.growth.first + 1))]
    pitch = width * zoom + GAP
    page = Image.new("RGB", (MARGIN + pitch * len(rows[0]) + GAP, sum(heights) + GAP), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(LETTERS)
    for i, (row, text) in enumerate(zip(rows, heads(model))):
        top = GAP + sum(heights[:i])
        draw.text((LETTERS // 3, top + (heights[i] - GAP) / 2), text, "black", font, anchor="lm")
        for j, image in enumerate(row):
            tile = to_pil(image).convert("RGB")
            tile = tile.resize((tile.width * zoom, tile.height * zoom), Image.Resampling.NEAREST)
            page.paste(tile, (MARGIN + GAP + j * pitch + (width * zoom - tile.width) // 2, top))
    return np.asarray(page)
