"""Images, what a latent-variable model makes of them, and the difference.

gancli sample ckpt=latest view=reconstruction
gancli sample ckpt=latest view=reconstruction source=pictures/ out=reconstructed/
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from gancli.data.decode import quiet
from gancli.data.files import Asked, Entry, open_files
from gancli.data.pixels import Depth
from gancli.data.source import folder
from gancli.data.spec import described, quantise, scaled
from gancli.data.untrusted import Unreadable
from gancli.errors import UsageError
from gancli.files import shown
from gancli.models.base import Model
from gancli.models.latent import LatentVariable
from gancli.views.base import SHOWN, Picture, RunData, View
from gancli.views.chosen import file_names
from gancli.views.grids import make_grid
from gancli.views.real import as_labels, check_there, parts, real_images
from gancli.views.translation import read_entry

COLUMNS = 10  # images in a row


class Reconstruction(View):
    """A column per image of the data: the image, the mean of p(x|z) at the posterior's mean, and their difference, grey
    where there is none and white where the reconstruction is brighter. Of a dVAE, the mean at relaxed codes, too.

    With ``source``, every picture there is reconstructed; files keep their sub-folders and names, except for the
    suffix. A model of fewer levels sees the nearest ones.

    Args:
        source: folder or zip of pictures of the model's size; None: the first images of the split.
        split: train, validation or test; None: validation if the run held one out, else test.
        label: number or name of the class of all images, for a conditional model; None: the class in the data.
    """

    needs = "a model that encodes images"

    def __init__(self, source: str | None = None, split: str | None = None, label: int | str | None = None) -> None:
        self.source, self.split, self.label = source, split, label

    @classmethod
    def suits(cls, model: Model) -> bool:
        return isinstance(model, LatentVariable)

    def check_number(self, n: int, data: RunData) -> None:
        if self.source is not None:
            raise UsageError(f"n={n}: all pictures of source={self.source} are reconstructed; omit n")
        check_there(n, data, self.split)

    def amount(self, n: int) -> tuple[str, int]:
        return f"n={n}", n

    @torch.no_grad()
    def draw(self, model: Model, data: RunData, *, n: int, seed: int, batch_size: int) -> dict[str, Picture]:
        assert isinstance(model, LatentVariable)
        if self.source is not None:
            given = data.class_number(self.label)
            label = as_labels(model, np.array([-1 if given is None else given]))
            names, pictures = _pictures(model, self.source)
            found = (quantise(reconstructed(model, each, label))[0].cpu() for each in pictures)
            return {"": Picture(None, found, names=names)}
        rows = range(min(n, len(data.split(self.split or data.held_out))))
        image, label = real_images(model, data, rows, self.split, self.label)
        means = torch.cat([reconstructed(model, *part) for part in parts(batch_size, image, label)])
        shown = panel(image, means, _relaxed(model, image[:SHOWN], None if label is None else label[:SHOWN], seed))
        return {"": Picture(shown, quantise(means).cpu(), None if label is None else label.cpu())}


def reconstructed(model: LatentVariable, image: Tensor, label: Tensor | None) -> Tensor:
    """Return the means of p(x|z) at the most likely code of each image, (N, C, H, W) in [-1, 1]."""
    return model.picture(model.code(image, label), label)


def _relaxed(model: LatentVariable, image: Tensor, label: Tensor | None, seed: int) -> Tensor | None:
    """Return the means of p(x|z) at relaxed codes, as training decodes them, of a model that has such codes."""
    z = model.relaxed_code(image, torch.Generator(image.device).manual_seed(seed))
    return None if z is None else model.picture(z, label)


def panel(image: Tensor, means: Tensor, relaxed: Tensor | None = None) -> np.ndarray:
    """Return a picture with rows for every COLUMNS images: image, mean, difference, and the relaxed mean if given."""
    also = [] if relaxed is None else [relaxed]
    blocks: list[Tensor] = []
    names: list[str] = []
    for first, mean, *more in zip(*(each[:SHOWN].split(COLUMNS) for each in (image, means, *also))):
        missing = COLUMNS - len(first) if blocks else 0  # an incomplete block below another is filled up
        for row in (first, mean, (mean - first) / 2, *more):
            blocks += [row, row.new_ones(missing, *row.shape[1:])]
        names += ["image", "mean", "difference", *(["relaxed"] if more else [])]
    columns = min(COLUMNS, len(image))
    return make_grid(quantise(torch.cat(blocks)), columns, names=names)


def _pictures(model: LatentVariable, source: str) -> tuple[list[str], Iterator[Tensor]]:
    """Return names without endings, and pictures (1, C, H, W) in [-1, 1], one at a time, all of which can be read.

    Raises:
        UsageError: no such folder, no pictures, or one that cannot be read or is of another size.
    """
    entries = open_files(folder(source), Asked("source", layout="", depth="bit_depth")).entries()
    if not entries:
        raise UsageError(f"source={source}: no pictures in it")
    for each in entries:
        _read(model, each, source)

    def pictures() -> Iterator[Tensor]:
        for each in entries:
            yield model.known(scaled(torch.from_numpy(_read(model, each, source)[None]).to(model.device)))

    return file_names(entries), pictures()


def _read(model: LatentVariable, entry: Entry, source: str) -> np.ndarray:
    try:
        with quiet():
            pixels = read_entry(entry, model.spec.channels, Depth())
    except Unreadable as error:
        raise UsageError(f"source={source}: {shown(entry.name)} cannot be read: {error}") from error
    if pixels.shape != model.spec.shape:
        have, want = described(pixels.shape), described(model.spec.shape)
        raise UsageError(f"source={source}: {shown(entry.name)} is {have}, the model's images are {want}: resize it")
    return pixels
