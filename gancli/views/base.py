"""What every view is: a way of looking at a model. One view is one file here and one yaml in conf/view/."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np
from torch import Tensor

from gancli.data.source import Images, Source
from gancli.errors import UsageError, did_you_mean
from gancli.models.base import Model
from gancli.views.grids import make_grid

LISTED = 20  # classes in a message


class Picture(NamedTuple):
    """One picture of a view, and the images it shows by themselves.

    Args:
        image: the picture, (H, W, 3) uint8, with its row and column heads; None: there is one file per image only.
        raw: what the model drew: images (N, C, H, W) uint8, points (N, D) float32, or an iterator over images
            (C, H, W) uint8 of different sizes. None: nothing but the picture.
        labels: class of each image, (N,) int64.
        names: file name of each image without its ending, sub-folders included; empty: images are numbered.
    """

    image: np.ndarray | None
    raw: Tensor | Iterator[Tensor] | None = None
    labels: Tensor | None = None
    names: Sequence[str] = ()


@dataclass(frozen=True)
class RunData:
    """The data a model was trained on, as a view sees them; they are read when a view first asks for a split.

    Args:
        open: returns the source.
        classes: names of the classes or domains; empty: classes go by their numbers.
        images: number of images the model has seen.
        held_out: split of the images that are shown where a view needs real ones.
    """

    open: Callable[[], Source]
    classes: Sequence[str] = ()
    images: int = 0
    held_out: str = "test"

    @cached_property
    def source(self) -> Source:
        """The source itself."""
        return self.open()

    def split(self, name: str) -> Images:
        """Return a split. Raises UsageError where the data have no such split."""
        return self.source.split(name)

    def class_number(self, given: Any) -> int | None:
        """Return the number of a class given by number or name; None stays None.

        Raises:
            UsageError: there is no class of this name.
        """
        if given is None or type(given) is int:
            return given
        if given in self.classes:
            return list(self.classes).index(given)
        known = f"; known are {', '.join(self.classes[:LISTED])}" if self.classes else "; classes go by their numbers"
        more = ", ..." if len(self.classes) > LISTED else ""
        raise UsageError(f"label={given}: no such class{did_you_mean(str(given), self.classes)}{known}{more}")


class View(ABC):
    """A way of looking at a model. Arguments of the constructor are the view's parameters, which config checks."""

    needs: ClassVar[str]  # the models it suits, as a message names them: "a model of images"

    @classmethod
    @abstractmethod
    def suits(cls, model: Model) -> bool:
        """Tell whether the view can show this model."""

    @abstractmethod
    def draw(self, model: Model, data: RunData, *, n: int, seed: int, batch_size: int) -> dict[str, Picture]:
        """Draw the pictures of a model, a function of its weights and the arguments alone.

        Args:
            model: in eval mode, suited by the view.
            data: what the model was trained on.
            n: images to draw; a view of chosen images has a number of its own.
            seed: of the latents or the noise.
            batch_size: images that are drawn at a time.

        Returns:
            Pictures by name: ``""`` for the only one, else what becomes the end of a file name, such as ``a2b``.

        Raises:
            UsageError: a parameter that the model or the data cannot serve.
        """


def arrange(
    model: Model, data: RunData, raw: Tensor, labels: Tensor | None = None, columns: int | None = None
) -> dict[str, Picture]:
    """Return one picture of drawn images (N, C, H, W) uint8 in a grid, or of points (N, D, 1, 1) over real ones.

    Args:
        model: drew them.
        data: hold the real points.
        raw: what was drawn.
        labels: class of each, (N,) int64.
        columns: images per row; None for a square.
    """
    if not model.spec.points:
        raw = raw.cpu()
        return {"": Picture(make_grid(raw, columns), raw, labels)}
    from gancli.views.scatter import picture  # imports matplotlib, which takes as long as the rest of the start

    real = data.split("train")
    image = picture(model, raw, real.pixels, f"{real.name} after {data.images:,} points")
    return {"": Picture(image, raw.flatten(1).cpu(), labels)}
