"""The style-mixing matrix of style-based models: Karras et al. 2019, Figure 3.

gancli sample ckpt=latest view=mixing view.styles=0-2
"""

import torch
from torch import Tensor

from gancli.errors import UsageError
from gancli.models.base import Model
from gancli.models.sampling import class_labels, finished
from gancli.models.style import StyleBased
from gancli.ranges import Positive
from gancli.views.base import Picture, RunData, View
from gancli.views.grids import make_grid

BLOCKS = ("coarse", "middle", "fine")


class Mixing(View):
    """Each image has the styles of its row, but in some layers those of its column.

    The first row and the first column are the images whose styles they are. Layers are numbered from the seed on, so
    that the first ones decide on what is coarse.

    Args:
        sources: columns.
        rows: rows of each block.
        styles: the first layer and the one after the last that columns give, as ``0-2`` or ``[0,2]``; None: a third of
            the layers each, ``coarse``, ``middle`` and ``fine``, in blocks one below the other.
        label: number or name of the class of all images; None: each image has the next class.
    """

    needs = "a model with styles"

    def __init__(
        self,
        sources: Positive = 6,
        rows: Positive = 4,
        styles: str | list[int] | None = None,
        label: int | str | None = None,
    ) -> None:
        self.sources, self.rows, self.styles, self.label = sources, rows, styles, label

    @classmethod
    def suits(cls, model: Model) -> bool:
        return isinstance(model, StyleBased)

    @torch.no_grad()
    def draw(self, model: Model, data: RunData, *, n: int, seed: int, batch_size: int) -> dict[str, Picture]:
        assert isinstance(model, StyleBased)
        blocks = self._blocks(model.styles)
        generator = torch.Generator(model.device).manual_seed(seed)
        classes = class_labels(model, self.sources + self.rows, data.class_number(self.label))
        classes = None if classes is None else classes.to(model.device)
        ws = model.style(model.latent(self.sources + self.rows, generator), classes)
        giving, taking = ws.split([self.sources, self.rows])
        sources, own = finished(model, model.synthesise(ws)).split([self.sources, self.rows])
        cells = [torch.full_like(sources[:1], 255), sources]
        for first, last in blocks.values():
            for row, image in zip(taking, own):
                cells += [image[None], finished(model, model.synthesise(mixed(row[None], giving, first, last)))]
        images = torch.cat(cells)
        names = ["", *(f"{block} {i + 1}".strip() for block in blocks for i in range(self.rows))]
        heads = ["", *(str(i + 1) for i in range(self.sources))]
        return {"": Picture(make_grid(images, self.sources + 1, names=names, heads=heads), images[1:].cpu())}

    def _blocks(self, styles: int) -> dict[str, tuple[int, int]]:
        """Return the first layer, and the one after the last, of each block by the name of its rows.

        Raises:
            UsageError: ``styles`` are no such layers.
        """
        if self.styles is None:
            ends = [round(styles * i / len(BLOCKS)) for i in range(len(BLOCKS) + 1)]
            return {f"{name} {_layers(a, b)}:": (a, b) for name, a, b in zip(BLOCKS, ends, ends[1:]) if a < b}
        given = self.styles.split("-") if isinstance(self.styles, str) else self.styles
        if len(given) == 2 and all(str(each).isdecimal() for each in given):
            first, last = map(int, given)
            if 0 <= first < last <= styles:
                return {f"{_layers(first, last)}:": (first, last)}
        raise UsageError(
            f"styles={self.styles}: give the first layer and the one after the last, 0 to {styles}, such as "
            f"view.styles=0-{min(2, styles)}"
        )


def _layers(first: int, end: int) -> str:
    """Return the layers from the first to the one before the end: ``0-2``, or ``0`` for one."""
    return f"{first}-{end - 1}" if first < end - 1 else str(first)


def mixed(taking: Tensor, giving: Tensor, first: int, last: int) -> Tensor:
    """Return ``taking`` with the layers first to last - 1 of ``giving``, (n, styles, d); one of them may have n = 1."""
    ws = taking.expand(max(len(taking), len(giving)), -1, -1).clone()
    ws[:, first:last] = giving[:, first:last]
    return ws
