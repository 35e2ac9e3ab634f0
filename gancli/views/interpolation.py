"""Walks between latents.

gancli sample ckpt=latest view=interpolation view.steps=16
"""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from gancli.errors import UsageError
from gancli.models.base import Adversarial, Model
from gancli.models.sampling import class_labels, finished
from gancli.models.style import StyleBased
from gancli.views.base import Picture, RunData, View, arrange

STEPS = 10  # default number of images per row


class Interpolation(View):
    """A row per pair of latents, from one to the other; n images make n // steps rows, at least one.

    Args:
        steps: images per row, including both ends.
        label: number or name of the class of all rows; None: each row has the next class.
        space: z, where the latents lie; w, between the styles that they are mapped to, for style-based models; None: w
            if the model has styles.

    Raises:
        ValueError: there are fewer than two steps.
    """

    needs = "a model with latents"

    def __init__(
        self, steps: int = STEPS, label: int | str | None = None, space: Literal["z", "w"] | None = None
    ) -> None:
        if steps < 2:
            raise ValueError(f"steps={steps} must be 2 or more")
        self.steps, self.label, self.space = steps, label, space

    def check_number(self, n: int, data: RunData) -> None:
        if n % self.steps:
            more = (n // self.steps + 1) * self.steps
            raise UsageError(f"n={n}: each row has {self.steps} images; use n={more}, or view.steps={n} for one row")

    @classmethod
    def suits(cls, model: Model) -> bool:
        return isinstance(model, Adversarial)

    def draw(self, model: Model, data: RunData, *, n: int, seed: int, batch_size: int) -> dict[str, Picture]:
        assert isinstance(model, Adversarial)
        rows, label = max(1, n // self.steps), data.class_number(self.label)
        labels = class_labels(model, rows, label)
        each = None if labels is None else labels.repeat_interleave(self.steps)
        if self.space == "w" and not isinstance(model, StyleBased):
            raise UsageError(f"space=w: {type(model).__name__} has no styles to walk between; remove view.space")
        drawn = walks(model, rows, self.steps, seed=seed, labels=labels, space=self.space)
        return arrange(model, data, drawn, rows * self.steps, each, self.steps)

    def amount(self, n: int) -> tuple[str, int]:
        return f"n={n}", max(1, n // self.steps) * self.steps


def walk(model: Adversarial, rows: int, steps: int = STEPS, *, seed: int, labels: Tensor | None = None) -> Tensor:
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
    model: Adversarial, rows: int, steps: int, *, seed: int, labels: Tensor | None, space: str | None = None
) -> Iterator[Tensor]:
    """Yield the rows of walk(), (steps, C, H, W) each; ``space``: see Interpolation."""
    generator = torch.Generator(model.device).manual_seed(seed)
    ends = model.latent(2 * rows, generator)
    t = torch.linspace(0, 1, steps, device=model.device).view(-1, *[1] * (ends.dim() - 1))
    classes = [None] * rows if labels is None else labels.to(model.device)[:, None].expand(-1, steps)
    pairs = zip(ends[::2], ends[1::2], classes)
    for a, b, each in pairs:
        if isinstance(model, StyleBased) and space != "z":  # W has no prior whose variance a straight line would leave
            start, end = (model.style(z.expand(steps, -1), each) for z in (a[None], b[None]))
            images = model.synthesise(torch.lerp(start, end, t[..., None]))
        else:
            images = model.generate(model.interpolate(a, b, t), each)
        yield finished(model, images)
