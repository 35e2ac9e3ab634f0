"""The levels of a Laplacian pyramid of GANs: of samples, and of real images that one level refines.

gancli sample ckpt=latest view=pyramid
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from gancli.data.spec import quantise, scaled
from gancli.models.base import Model
from gancli.models.lapgan import LAPGAN
from gancli.models.sampling import class_labels
from gancli.views.base import Picture, RunData, View
from gancli.views.grids import make_grid

COLUMNS = 10  # maximum number of images in a row
WHITE = 255


class Pyramid(View):
    """Two pictures with a column per image, every level at its own size.

    - The samples of a grid: the image at every level, and above it the residual that it adds, grey where it is zero.
    - ``refined``: held-out images. Each level refines their real coarse image, next to what is true at its size.

    Args:
        label: number or name of the only class to draw; None: all classes in turn.
    """

    needs = "a model of a Laplacian pyramid"

    def __init__(self, label: int | str | None = None) -> None:
        self.label = label

    @classmethod
    def suits(cls, model: Model) -> bool:
        return isinstance(model, LAPGAN)

    @torch.no_grad()
    def draw(self, model: Model, data: RunData, *, n: int, seed: int, batch_size: int) -> dict[str, Picture]:
        assert isinstance(model, LAPGAN)
        n, generator = min(n, COLUMNS), torch.Generator(model.device).manual_seed(seed)
        return {
            "": self._samples(model, n, generator, data.class_number(self.label)),
            "refined": self._refined(model, data, n, generator),
        }

    def _samples(self, model: LAPGAN, n: int, generator: torch.Generator, label: int | None) -> Picture:
        labels = class_labels(model, n, label)
        images = model.chain(model.latent(n, generator), None if labels is None else labels.to(model.device))
        added = model.residuals(images)
        rows = {model.names[0]: images[0]}
        for name, image, residual in zip(model.names[1:], images[1:], added[1:]):
            rows |= {f"{name} residual": residual / 2, name: image}
        return _picture(rows, images[-1], labels)

    def _refined(self, model: LAPGAN, data: RunData, n: int, generator: torch.Generator) -> Picture:
        real = data.split(data.held_out)
        known = None if real.labels is None else torch.from_numpy(real.labels[:n])
        labels = known if model.conditional else None
        images = model.pyramid(scaled(torch.from_numpy(real.pixels[:n]).to(model.device)))
        label, rows, image = None if labels is None else labels.to(model.device), {model.names[0]: images[0]}, images[0]
        for level, name in enumerate(model.names[1:], 1):
            noise = model.noise(level, len(image), generator)
            image = model.level(level, noise, images[level - 1], label)
            rows |= {f"{name} refined": image, f"{name} real": images[level]}
        return _picture(rows, image, labels)


def _picture(rows: dict[str, Tensor], last: Tensor, labels: Tensor | None) -> Picture:
    """Return a picture with a named row per tensor (n, C, H, W), small images in the middle of a white tile."""
    height, width = last.shape[2:]
    tiles = [_tile(quantise(row).cpu(), height, width) for row in rows.values()]
    grid = make_grid(torch.cat(tiles), len(last), names=tuple(rows))
    return Picture(grid, quantise(last).cpu(), labels)


def _tile(images: Tensor, height: int, width: int) -> Tensor:
    """Put images (n, C, h, w) uint8 in the middle of tiles (n, C, height, width)."""
    above, left = (height - images.shape[2]) // 2, (width - images.shape[3]) // 2
    right, below = width - images.shape[3] - left, height - images.shape[2] - above
    return pad(images, (left, right, above, below), value=WHITE)
