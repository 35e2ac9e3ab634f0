"""Translations of images: of the run's data next to their sources, or of the user's folder with its file names.

gancli sample ckpt=latest
gancli sample ckpt=latest source=photos/ direction=b2a out=translated/
"""

import logging
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from gancli.data.decode import quiet
from gancli.data.files import Asked, Entry, open_files
from gancli.data.pixels import Depth, depth_warning, parallel, threads, to_array
from gancli.data.source import Images, folder
from gancli.data.spec import quantise, scaled, sides
from gancli.data.untrusted import Unreadable
from gancli.errors import UsageError, did_you_mean
from gancli.files import shown
from gancli.models.base import Model
from gancli.models.directions import Direction, directions
from gancli.models.translation import Cyclic, MultiDomain, Translation
from gancli.ranges import Bits
from gancli.views.base import Picture, RunData, View
from gancli.views.chosen import file_names
from gancli.views.grids import make_grid

log = logging.getLogger("gancli")
COLUMNS = 10  # maximum number of images in a row


class Translations(View):
    """One picture per direction, with rows for the source, the translation, the reconstruction, the identity (the
    source translated by the way back) and, if known, the true translation; for several domains a single picture, with
    a row per source and a column per domain.

    With ``source``, every image there is translated at its own size: sides that the network cannot take are padded by
    reflection, and the result is cropped. Files keep their sub-folders and names, except for the suffix.

    Args:
        source: folder or zip of images; None: the first ten of the test split.
        direction: a2b or b2a; for several domains, the number or name of the target. None: all directions, or with
            ``source`` the first one.
        bit_depth: bits that pictures of 16 bits per channel in ``source`` use, such as 12; None: all of them.
    """

    needs = "a model that translates"

    def __init__(
        self, source: str | None = None, direction: int | str | None = None, bit_depth: Bits | None = None
    ) -> None:
        self.source, self.direction = source, None if direction is None else str(direction)
        self.bit_depth = bit_depth

    @classmethod
    def suits(cls, model: Model) -> bool:
        return isinstance(model, Translation)

    def check_number(self, n: int, data: RunData) -> None:
        if self.source is not None:
            raise UsageError(f"n={n}: all images of source={self.source} are translated; omit n")
        most = min(COLUMNS, len(_shown(data)))
        if n > most:
            raise UsageError(
                f"n={n}: the picture shows {most} images or fewer; translate a folder of them with source=..."
            )

    def draw(self, model: Model, data: RunData, *, n: int, seed: int, batch_size: int) -> dict[str, Picture]:
        assert isinstance(model, Translation)
        generator = torch.Generator(model.device).manual_seed(seed)
        if self.source is not None:
            direction = check_direction(model, self.direction, data.classes)
            names, pictures = _pictures(model, self.source, direction, self.bit_depth)
            moved = (quantise(translate(model, each, direction, generator))[0].cpu() for each in pictures)
            return {"": Picture(None, moved, names=names)}
        only = None if self.direction is None else check_direction(model, self.direction, data.classes)
        return panels(model, _shown(data), min(n, COLUMNS), generator, only)


def _shown(data: RunData) -> Images:
    """Return the split whose images are shown: test if there is one."""
    for split in ("test", "validation"):
        try:
            return data.split(split)
        except UsageError:  # there is no such split
            continue
    return data.split("train")


@torch.no_grad()
def panels(
    model: Translation, images: Images, n: int, generator: torch.Generator, only: str | None = None
) -> dict[str, Picture]:
    """Return pictures of the translations of a split's first n images, by direction (``domains`` if there are several).

    Args:
        model: the translation model.
        images: the split.
        n: number of images per direction.
        generator: generator of the noise.
        only: the only direction to show, by its name for translate(); None: all.
    """
    if isinstance(model, MultiDomain):
        return {"domains": _domains(model, images, n, generator, only)}
    return {
        each.name: _panel(model, each, n, generator)
        for each in directions(model, images)
        if only in (None, each.direction)
    }


def _domains(model: MultiDomain, images: Images, n: int, generator: torch.Generator, only: str | None) -> Picture:
    """Return a picture with a row per source and a column per domain."""
    source = scaled(torch.from_numpy(images.pixels[:n]).to(model.device))
    chosen = [i for i, direction in enumerate(model.directions) if only in (None, direction)]
    moved = [quantise(model.translate(source, model.directions[i], generator)) for i in chosen]
    across = torch.stack([quantise(source), *moved], 1).flatten(0, 1)
    heads = ("source", *(images.class_names[i] for i in chosen))
    labels = torch.tensor(chosen).repeat(len(source))
    return Picture(make_grid(across, len(heads), heads=heads), torch.stack(moved, 1).flatten(0, 1).cpu(), labels)


def _panel(model: Translation, direction: Direction, n: int, generator: torch.Generator) -> Picture:
    """Return a picture with a column per source."""
    source = scaled(torch.from_numpy(direction.source.pixels[:n]).to(model.device))
    rows = {"source": source, "translation": model.translate(source, direction.direction, generator)}
    if isinstance(model, Cyclic):
        back = next(each for each in model.directions if each != direction.direction)
        rows["reconstruction"] = model.translate(rows["translation"], back, generator)
        if model.spec.channels == model.spec.source_channels:
            rows["identity"] = model.translate(source, back, generator)
    pictures = {name: quantise(row).cpu() for name, row in rows.items()}
    raw = pictures["translation"]
    if direction.truth is not None:
        pictures["truth"] = torch.from_numpy(np.ascontiguousarray(direction.truth[:n]))
    deep = [row.expand(-1, 3, -1, -1) for row in pictures.values()]  # the domains may differ in channels
    return Picture(make_grid(torch.cat(deep), len(source), names=tuple(pictures)), raw)


def check_direction(model: Translation, direction: str | None, domains: Sequence[str] = ()) -> str:
    """Return a direction's name for translate(); None is the first one, unless there are several domains.

    Args:
        model: the model with the directions.
        direction: one of them, or the name of the target domain.
        domains: the names of the domains if there are several.

    Raises:
        UsageError: the model has no such direction.
    """
    known = model.directions
    if isinstance(model, MultiDomain):
        names = dict(zip(domains, known))
        known = (*known, *names)
        direction = None if direction is None else names.get(direction, direction)
    elif direction is None:
        return known[0]
    if direction is None or direction not in known:
        what = "the domains" if isinstance(model, MultiDomain) else "the directions"
        raise UsageError(
            f"direction={direction}: {type(model).__name__} has {what} {', '.join(known)}"
            f"{did_you_mean(str(direction), known)}"
        )
    return direction


def check_size(model: Translation, height: int, width: int) -> None:
    """Refuse a picture that reflection cannot continue to what the network takes. Raises UsageError."""
    down, right = -height % model.multiple, -width % model.multiple
    if down >= height or right >= width or min(height, width) < 8:
        raise UsageError(
            f"an image of {sides(height, width)} is too small: its sides must have at least 8 pixels and more than "
            f"half of {model.multiple}"
        )


@torch.no_grad()
def translate(model: Translation, pixels: Tensor, direction: str, generator: torch.Generator | None = None) -> Tensor:
    """Translate one picture (1, C, H, W) of any size that reflection can continue to what the network takes."""
    height, width = pixels.shape[2:]
    check_size(model, height, width)
    down, right = -height % model.multiple, -width % model.multiple
    found = model.translate(pad(pixels, (0, right, 0, down), mode="reflect"), direction, generator)
    return found[:, :, :height, :width]


def _pictures(model: Translation, source: str, direction: str, bits: int | None) -> tuple[list[str], Iterator[Tensor]]:
    """Return the names of pictures without their endings, and the pictures, (1, C, H, W) in [-1, 1], one at a time, in
    the channels of their domain. All of them have been read once before the first one is given.

    Raises:
        UsageError: no such folder, no pictures, or some that cannot be read or are too small; they are named.
    """
    spec = model.spec
    channels = spec.source_channels if direction == "a2b" else spec.channels
    entries = open_files(folder(source), Asked("source", layout="", depth="bit_depth")).entries()
    if not entries:
        raise UsageError(f"source={source}: no pictures in it")
    _check_all(model, entries, channels, source, Depth(bits))

    def read() -> Iterator[Tensor]:
        for entry in entries:
            try:
                with quiet():
                    array = read_entry(entry, channels, Depth(bits))
            except Unreadable as error:  # it was changed in the meantime
                raise UsageError(f"source={source}: {shown(entry.name)} cannot be read: {error}") from error
            yield scaled(torch.from_numpy(array[None]).to(model.device))

    return file_names(entries), read()


def read_entry(entry: Entry, channels: int, depth: Depth) -> np.ndarray:
    with entry.picture() as image:
        return to_array(depth.flatten(image, channels))


def _check_all(model: Translation, entries: Sequence[Entry], channels: int, source: str, depth: Depth) -> None:
    """Refuse a job that would stop half-way: reading takes a small part of the time of translating."""

    def wrong(entry: Entry) -> str | None:
        try:
            check_size(model, *read_entry(entry, channels, depth).shape[1:])
        except (Unreadable, UsageError) as error:
            return f"{shown(entry.name)}: {error}"
        return None

    size = sum(entry.size for entry in entries) / len(entries)
    with quiet():
        bad = [each for each in parallel(wrong, entries, threads(size)) if each]
    if bad:
        first = "; ".join(bad[:3]) + ("; ..." if len(bad) > 3 else "")
        raise UsageError(
            f"source={source}: {len(bad)} of {len(entries)} pictures cannot be translated ({first}), "
            "and none was; repair or remove them"
        )
    if text := depth_warning(*depth.counted(), "bit_depth"):
        log.warning("source=%s: %s", source, text)
