"""The images of two latents, on a grid of equal probability (Kingma & Welling 2014, figure 4).

gancli train model=vae data=mnist model.latent_dim=2 'model.hidden=[400,400]'
gancli sample ckpt=latest view=manifold
"""

import torch
from torch import Tensor

from gancli.data.spec import quantise
from gancli.errors import UsageError
from gancli.models.base import Model
from gancli.models.latent import GaussianLatents
from gancli.models.sampling import class_labels
from gancli.ranges import Positive
from gancli.views.base import Picture, RunData, View
from gancli.views.grids import make_grid
from gancli.views.real import parts


class Manifold(View):
    """A square of means of p(x|z): the two latents are the quantiles of a normal distribution, so that every image
    stands for as much of the prior as any other.

    Args:
        side: images per side.
        label: number or name of the class of all images, for a conditional model; None: class 0.
    """

    needs = "a model with two normal latents"

    def __init__(self, side: Positive = 20, label: int | str | None = None) -> None:
        self.side, self.label = side, label

    @classmethod
    def suits(cls, model: Model) -> bool:
        return isinstance(model, GaussianLatents) and model.latent_dim == 2

    def check_number(self, n: int, data: RunData) -> None:
        raise UsageError(f"n={n}: the manifold is a square of view.side={self.side}; set that instead")

    @torch.no_grad()
    def draw(self, model: Model, data: RunData, *, n: int, seed: int, batch_size: int) -> dict[str, Picture]:
        assert isinstance(model, GaussianLatents)
        z = square(self.side).to(model.device)
        label = data.class_number(self.label)
        labels = class_labels(model, len(z), 0 if model.conditional and label is None else label)
        each = parts(batch_size, z, None if labels is None else labels.to(model.device))
        images = torch.cat([quantise(model.picture(*part)).cpu() for part in each])
        return {"": Picture(make_grid(images, self.side, gap=0), images, labels)}


def square(side: int) -> Tensor:
    """Return the latents of a square, row by row, (side^2, 2): z_1 grows to the right, z_2 upwards.

    The values of each are quantiles of N(0, 1) in the middles of ``side`` intervals of equal probability.
    """
    z = torch.special.ndtri((torch.arange(side) + 0.5) / side)
    down, right = torch.meshgrid(z.flip(0), z, indexing="ij")
    return torch.stack([right, down], -1).flatten(0, 1)
