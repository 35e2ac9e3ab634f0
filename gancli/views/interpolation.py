"""Walks between latents.

gancli sample ckpt=latest view=interpolation view.steps=16
gancli sample ckpt=latest view=interpolation 'view.images=[0,1]'
"""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from gancli.data.spec import quantise
from gancli.errors import UsageError
from gancli.models.base import Adversarial, Model, straight
from gancli.models.latent import GaussianLatents
from gancli.models.sampling import class_labels, finished
from gancli.models.style import StyleBased
from gancli.views.base import Picture, RunData, View, arrange
from gancli.views.real import real_images

STEPS = 10  # default number of images per row


class Interpolation(View):
    """A row per pair of latents, from one to the other; n images make n // steps rows, at least one.

    Args:
        steps: images per row, including both ends.
        label: number or name of the class of all rows; None: each row has the next class.
        images: two numbers of held-out images whose codes are the ends of one row, for a model that encodes images;
            None: latents drawn from the prior.
        space: z, where the latents lie; w, between the styles that they are mapped to, for style-based models; None: w
            if the model has styles.

    Raises:
        ValueError: there are fewer than two steps.
    """

    needs = "a model with one vector of latents"

    def __init__(
        self,
        steps: int = STEPS,
        label: int | str | None = None,
        space: Literal["z", "w"] | None = None,
        images: list[int] | None = None,
    ) -> None:
        if steps < 2:
            raise ValueError(f"steps={steps} must be 2 or more")
        if images is not None and len(images) != 2:
            raise ValueError(f"images={images} must be two numbers of images, such as [0,1]")
        self.steps, self.label, self.space, self.images = steps, label, space, images

    def check_number(self, n: int, data: RunData) -> None:
        if self.images is not None:
            raise UsageError(f"n={n}: two images make one row; set view.steps={n} instead")
        if n % self.steps:
            more = (n // self.steps + 1) * self.steps
            raise UsageError(f"n={n}: each row has {self.steps} images; use n={more}, or view.steps={n} for one row")

    @classmethod
    def suits(cls, model: Model) -> bool:
        return isinstance(model, (Adversarial, GaussianLatents))

    def draw(self, model: Model, data: RunData, *, n: int, seed: int, batch_size: int) -> dict[str, Picture]:
        assert isinstance(model, (Adversarial, GaussianLatents))
        if self.images is not None:
            return self._between_images(model, data)
        rows, label = max(1, n // self.steps), data.class_number(self.label)
        labels = class_labels(model, rows, label)
        each = None if labels is None else labels.repeat_interleave(self.steps)
        if self.space == "w" and not isinstance(model, StyleBased):
            raise UsageError(f"space=w: {type(model).__name__} has no styles to walk between; remove view.space")
        drawn = walks(model, rows, self.steps, seed=seed, labels=labels, space=self.space)
        return arrange(model, data, drawn, rows * self.steps, each, self.steps)

    @torch.no_grad()
    def _between_images(self, model: Adversarial | GaussianLatents, data: RunData) -> dict[str, Picture]:
        """Draw one straight line between the posterior means of two images, in the class of the first."""
        assert self.images is not None
        if not isinstance(model, GaussianLatents):
            raise UsageError(f"images={self.images}: {type(model).__name__} does not encode images; remove view.images")
        image, label = real_images(model, data, self.images, label=self.label)
        t = torch.linspace(0, 1, self.steps, device=model.device)[:, None]
        start, end = model.code(image, label)
        z = straight(start, end, t)
        each = None if label is None else label[:1].expand(self.steps)  # one class per row
        drawn = quantise(model.picture(z, each)).cpu()
        return arrange(model, data, [drawn], self.steps, None if each is None else each.cpu(), self.steps)

    def amount(self, n: int) -> tuple[str, int]:
        return f"n={n}", max(1, n // self.steps) * self.steps if self.images is None else self.steps


def walk(
    model: Adversarial | GaussianLatents, rows: int, steps: int = STEPS, *, seed: int, labels: Tensor | None = None
) -> Tensor:
    """Interpolate between pairs of latents.

    Args:
        model: the model with the latents.
        rows: number of pairs.
        steps: images per pair.
        seed: seed of the latents.
        labels: class of each row, (rows,) int64; None: the model is unconditional.

    Returns:
        Images (rows * steps, C, H, W) uint8, row by row; points are float32.
    """
    return torch.cat(list(walks(model, rows, steps, seed=seed, labels=labels)))


@torch.no_grad()
def walks(
    model: Adversarial | GaussianLatents,
    rows: int,
    steps: int,
    *,
    seed: int,
    labels: Tensor | None,
    space: str | None = None,
) -> Iterator[Tensor]:
    """Yield the rows of walk(), (steps, C, H, W) each; ``space``: see Interpolation."""
    generator = torch.Generator(model.device).manual_seed(seed)
    if isinstance(model, GaussianLatents):
        ends, generate = model.prior(2 * rows, generator), model.picture
    else:
        ends, generate = model.latent(2 * rows, generator), model.generate
    t = torch.linspace(0, 1, steps, device=model.device).view(-1, *[1] * (ends.dim() - 1))
    classes = [None] * rows if labels is None else labels.to(model.device)[:, None].expand(-1, steps)
    pairs = zip(ends[::2], ends[1::2], classes)
    for a, b, each in pairs:
        if isinstance(model, StyleBased) and space != "z":  # W has no prior whose variance a straight line would leave
            start, end = (model.style(z.expand(steps, -1), each) for z in (a[None], b[None]))
            images = model.synthesise(straight(start, end, t[..., None]))
        else:
            images = generate(model.interpolate(a, b, t), each)
        yield finished(model, images)
