"""Quality against variety: the same seeds at several values of truncation.

gancli sample ckpt=latest view=truncation
gancli sample ckpt=latest view=truncation 'values=[2,1,0.3]' label=3
"""

import torch
from torch import Tensor

from gancli.errors import UsageError
from gancli.models.base import Model
from gancli.models.sampling import class_labels, draw
from gancli.views.base import SHOWN, Picture, RunData, View
from gancli.views.grids import make_grid


class Truncation(View):
    """A row per seed, a column per value of truncation; n images make n // columns rows, at least one.

    All images of a row come from the same random numbers, so that they vary smoothly; only the column of null, which
    draws normal latents in another way, shows others. Other options of sampling have their defaults.

    Args:
        values: of truncation, one per column, with null for none; null in place of the list: the model's own.
        label: number or name of the class of all rows; None: each row has the next class.

    Raises:
        ValueError: the list is empty.
    """

    needs = "a model of images whose sampling takes truncation"

    def __init__(self, values: list[float | None] | None = None, label: int | str | None = None) -> None:
        if values is not None and not values:
            raise ValueError("values is empty; name one or more, such as [2,1,0.5]")
        self.values, self.label = values, label

    @classmethod
    def suits(cls, model: Model) -> bool:
        return model.truncates() and not model.spec.points

    def check_number(self, n: int, data: RunData) -> None:
        if self.values and n % len(self.values):
            columns = len(self.values)
            more = (n // columns + 1) * columns
            raise UsageError(f"n={n}: each row has {columns} images, one per value of truncation; use n={more}")

    def draw(self, model: Model, data: RunData, *, n: int, seed: int, batch_size: int) -> dict[str, Picture]:
        values = model.truncations if self.values is None else self.values
        rows, columns = max(1, n // len(values)), len(values)
        labels = class_labels(model, rows, data.class_number(self.label))
        drawn = torch.stack([_column(model, each, rows, seed, batch_size, labels) for each in values], 1).flatten(0, 1)
        heads = ["none" if each is None else f"{each:g}" for each in values]
        shown = drawn[: max(1, SHOWN // columns) * columns]
        each = None if labels is None else labels.repeat_interleave(columns)
        return {"": Picture(make_grid(shown, columns, heads=heads), drawn, each)}

    def amount(self, n: int) -> tuple[str, int]:
        return f"n={n}", n


def _column(model: Model, value: float | None, rows: int, seed: int, batch_size: int, labels: Tensor | None) -> Tensor:
    """Return the images of one value, (rows, C, H, W) uint8, and leave the model without truncation."""
    options = {"truncation": value}  # by name: models without the option are not shown
    model.set_sampling(**options)
    try:
        batches = draw(model, rows, seed=seed, batch_size=batch_size, labels=labels)
        return torch.cat([images.cpu() for images, _ in batches])
    finally:
        model.set_sampling()
