"""One latent at a time: how each of them changes a reconstruction (Higgins et al. 2017, figure 4).

gancli sample ckpt=latest view=traversal view.image=3
"""

import torch
from torch import Tensor

from gancli.data.spec import quantise
from gancli.errors import UsageError
from gancli.models.base import Model
from gancli.models.latent import GaussianLatents
from gancli.ranges import Above, Positive
from gancli.views.base import Picture, RunData, View
from gancli.views.grids import make_grid
from gancli.views.real import parts, real_images

RANKED = 512  # images over which the KL of a latent is averaged


class Traversal(View):
    """A row per latent, from the one with the largest KL on; columns are its values, from -reach to reach. All other
    latents have the posterior mean of an image.

    Args:
        image: number of the image in the split.
        latents: rows; fewer if the model has fewer latents.
        steps: columns.
        reach: largest value, in standard deviations of the prior.
        split: train, validation or test; None: validation if the run held one out, else test.
        label: number or name of the image's class, for a conditional model; None: the class in the data.
    """

    needs = "a model with one normal vector of latents"

    def __init__(
        self,
        image: int = 0,
        latents: Positive = 10,
        steps: Positive = 9,
        reach: Above = 3.0,
        split: str | None = None,
        label: int | str | None = None,
    ) -> None:
        self.image, self.latents, self.steps, self.reach = image, latents, steps, reach
        self.split, self.label = split, label

    @classmethod
    def suits(cls, model: Model) -> bool:
        return isinstance(model, GaussianLatents)

    def check_number(self, n: int, data: RunData) -> None:
        raise UsageError(f"n={n}: there are view.latents={self.latents} rows of view.steps={self.steps}; set those")

    @torch.no_grad()
    def draw(self, model: Model, data: RunData, *, n: int, seed: int, batch_size: int) -> dict[str, Picture]:
        assert isinstance(model, GaussianLatents)
        image, label = real_images(model, data, [self.image], self.split, self.label)
        many = range(min(RANKED, len(data.split(self.split or data.held_out))))
        known = real_images(model, data, many, self.split, self.label)
        kl = torch.cat([model.encode(*part).stats["groups"] for part in parts(batch_size, *known)]).mean(0)
        chosen = kl.argsort(descending=True)[: self.latents].tolist()
        values = torch.linspace(-self.reach, self.reach, self.steps, device=model.device)
        z = traversed(model.code(image, label)[0], chosen, values)
        labels = None if label is None else label.expand(len(z))
        images = torch.cat([quantise(model.picture(*part)).cpu() for part in parts(batch_size, z, labels)])
        names = [f"{j:02d}: {kl[j]:.2f} nats" for j in chosen]  # numbered as doctor/kl_00
        heads = [f"{value:g}" for value in values.cpu().double().round(decimals=2).tolist()]
        grid = make_grid(images, self.steps, names=names, heads=heads)
        return {"": Picture(grid, images, None if labels is None else labels.cpu())}


def traversed(z: Tensor, latents: list[int], values: Tensor) -> Tensor:
    """Return z with one latent at a time at each of the values: (d,), (steps,) -> (len(latents) * steps, d)."""
    found = z.repeat(len(latents), len(values), 1)
    for row, j in enumerate(latents):
        found[row, :, j] = values.to(z.dtype)
    return found.flatten(0, 1)
