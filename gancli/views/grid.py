"""Independent samples side by side.

gancli sample ckpt=latest n=64
gancli sample ckpt=latest label=3
"""

from gancli.models.base import Model
from gancli.models.sampling import class_labels, columns, draw_together
from gancli.models.translation import Translation
from gancli.views.base import Picture, RunData, View, arrange


class Grid(View):
    """Samples in a square, or with a column per class for a conditional model.

    Args:
        label: number or name of the only class to draw; None: all classes in turn.
    """

    needs = "a model of images"

    def __init__(self, label: int | str | None = None) -> None:
        self.label = label

    @classmethod
    def suits(cls, model: Model) -> bool:
        return not model.spec.points and not isinstance(model, Translation)

    def draw(self, model: Model, data: RunData, *, n: int, seed: int, batch_size: int) -> dict[str, Picture]:
        label = data.class_number(self.label)
        labels = class_labels(model, n, label)
        drawn = draw_together(model, n, seed=seed, batch_size=batch_size, labels=labels, crew=data.crew)
        return arrange(model, data, drawn, n, labels, columns(model, n) if label is None else None)

    def assist(self, model: Model, data: RunData, *, n: int, seed: int, batch_size: int) -> None:
        labels = class_labels(model, n, data.class_number(self.label))
        for _ in draw_together(model, n, seed=seed, batch_size=batch_size, labels=labels, crew=data.crew):
            pass

    def amount(self, n: int) -> tuple[str, int]:
        return f"n={n}", n
