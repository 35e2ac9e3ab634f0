"""The interface of views, which are ways of looking at a model. A view is a file here and a yaml in conf/view/."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gancli.data.source import Images, Source
from gancli.errors import UsageError, did_you_mean
from gancli.models.base import Model
from gancli.models.shares import Crew
from gancli.views.grids import make_grid

LISTED = 20  # classes in a message
SHOWN = 1024  # images in a picture; more are only written as files
SHOWN_POINTS = 20_000


class Batches(NamedTuple):
    """Images or points that are drawn while they are written, so that only a batch of them is in memory.

    Args:
        each: batches of images (b, C, H, W) uint8 or points (b, D) float32 on the CPU, to be read once.
        n: number of all of them.
        shape: of one: (C, H, W) or (D,).
    """

    each: Iterator[Tensor]
    n: int
    shape: tuple[int, ...]


class Picture(NamedTuple):
    """One picture of a view, and the single images that it shows.

    Args:
        image: the picture, (H, W, 3) uint8, with its row and column heads, or a function that makes it of what passes
            in ``raw``, of which it reads what nobody has read yet; None: there are only files of single images.
        raw: the model's output: images (N, C, H, W) uint8, points (N, D) float32, Batches of either, or an iterator
            over images (C, H, W) uint8 of different sizes. None: there is only the picture.
        labels: class of each image, (N,) int64.
        names: file name of each image without its suffix, including sub-folders; empty: images are numbered.
    """

    image: np.ndarray | Callable[[], np.ndarray] | None
    raw: "Tensor | Batches | Iterator[Tensor] | None" = None
    labels: Tensor | None = None
    names: Sequence[str] = ()

    def shown(self) -> np.ndarray | None:
        """Return the picture itself, (H, W, 3) uint8, after the files of ``raw`` if they are to be written."""
        return self.image() if callable(self.image) else self.image


@dataclass(frozen=True)
class RunData:
    """The data that a model was trained on, read when a view first uses a split.

    Args:
        open: returns the source.
        classes: names of the classes or domains; empty: classes have only numbers.
        images: number of images that the model has seen.
        held_out: the split of the real images that views show.
        crew: processes that draw together.
    """

    open: Callable[[], Source]
    classes: Sequence[str] = ()
    images: int = 0
    held_out: str = "test"
    crew: Crew = field(default_factory=Crew)

    @cached_property
    def source(self) -> Source:
        """The source itself."""
        return self.open()

    def split(self, name: str) -> Images:
        """Return a split. Raises UsageError if the data has no such split."""
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
        named = [*self.classes[:LISTED], *(["..."] if len(self.classes) > LISTED else [])]
        known = f" (allowed: {', '.join(named)})" if named else "; use a class number"
        raise UsageError(f"label={given}: no such class{did_you_mean(str(given), self.classes)}{known}")


class View(ABC):
    """A way of looking at a model. Arguments of the constructor are the view's parameters, which config checks."""

    needs: ClassVar[str]  # the models it suits, for messages: "a model of images"

    def amount(self, n: int) -> tuple[str, int]:
        """Return a key and its value, and how many images draw() returns where that grows with the key; 0: few."""
        return f"n={n}", 0

    @classmethod
    @abstractmethod
    def suits(cls, model: Model) -> bool:
        """Tell whether the view can show this model."""

    def check_number(self, n: int, data: RunData) -> None:
        """Refuse a number of images that was asked for and that the view cannot show. Raises UsageError."""

    @abstractmethod
    def draw(self, model: Model, data: RunData, *, n: int, seed: int, batch_size: int) -> dict[str, Picture]:
        """Draw the pictures of a model, which depend only on its weights and the arguments.

        Args:
            model: a model that the view suits, in eval mode.
            data: the data that the model was trained on.
            n: number of images to draw; views of chosen images have their own number.
            seed: seed of the latents or the noise.
            batch_size: number of images that are drawn at a time.

        Returns:
            Pictures by name: ``""`` for a single one, else the end of its file name, such as ``a2b``.

        Raises:
            UsageError: a parameter does not fit the model or the data.
        """

    def assist(self, model: Model, data: RunData, *, n: int, seed: int, batch_size: int) -> None:
        """Draw the part of this process of what draw() draws, for the first of those in ``data.crew``.

        Most views draw few images, and the first process all of them.
        """


def arrange(
    model: Model, data: RunData, batches: Iterable[Tensor], n: int, labels: Tensor | None = None,
    columns: int | None = None,
) -> dict[str, Picture]:  # fmt: skip
    """Return one picture of the first drawn images in a grid, or of the first points over real ones, and all of them.

    Args:
        model: the model that draws them.
        data: holds the real points.
        batches: images (b, C, H, W) uint8 or points (b, D, 1, 1), drawn as they are asked for.
        n: number of all images.
        labels: class of each, (N,) int64.
        columns: images per row; None for a square.
    """
    stream, first, count = (each.cpu() for each in batches), [], 0
    most = SHOWN_POINTS if model.spec.points else (SHOWN // columns * columns if columns else SHOWN) or SHOWN
    while count < min(n, most):
        first.append(next(stream))
        count += len(first[-1])
    shown = torch.cat(first)[:most]
    if not model.spec.points:
        raw = Batches(chain(first, stream), n, tuple(shown.shape[1:]))
        return {"": Picture(make_grid(shown, columns), raw, labels)}
    from gancli.views.scatter import picture  # here, since importing matplotlib doubles the start-up time

    real = data.split("train")
    image = picture(model, shown.to(model.device), real.pixels, f"{real.name} after {data.images:,} points")
    return {
        "": Picture(image, Batches((each.flatten(1) for each in chain(first, stream)), n, shown[0].flatten().shape))
    }
