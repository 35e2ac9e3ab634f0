"""Translate a folder or zip of pictures of any size: names are kept."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

from gancli.data.files import one_line, open_files
from gancli.data.pixels import flatten, to_array
from gancli.data.spec import quantise, scaled
from gancli.errors import UsageError, did_you_mean
from gancli.models.translation import MultiDomain, Translation
from gancli.views.grids import save_png, to_pil


def translate_folder(model: Translation, source: str, direction: str, out: Path, *, seed: int) -> int:
    """Write the translation of every picture of a folder or zip into ``out``, one PNG each, and return their number.

    Pictures are translated one at a time, each at its own size: sides that the network cannot take are continued by
    reflection, and cut off again. Sub-folders are kept, and names but for the ending.

    Raises:
        UsageError: no such folder, no pictures, one that cannot be read or is too small.
    """
    generator = torch.Generator(model.device).manual_seed(seed)
    count = 0
    for name, pixels in _pictures(model, source, direction):
        save_png(out / name, to_pil(quantise(translate(model, pixels, direction, generator))[0]))
        count += 1
    return count


def check_direction(model: Translation, direction: str | None, domains: Sequence[str] = ()) -> str:
    """Return the direction as translate() knows it: None is the first one, unless there are several domains.

    Args:
        model: knows its directions.
        direction: one of them, or the name of the target domain.
        domains: names of several domains.

    Raises:
        UsageError: the model knows no such direction.
    """
    known = model.directions
    if isinstance(model, MultiDomain):
        names = dict(zip(domains, known))
        known = (*known, *names)
        direction = names.get(direction, direction)
    elif direction is None:
        return known[0]
    if direction not in known:
        what = "its domains" if isinstance(model, MultiDomain) else "the directions"
        raise UsageError(
            f"direction={direction}: {type(model).__name__} knows {what} {', '.join(known)}"
            f"{did_you_mean(str(direction), known)}"
        )
    return direction


@torch.no_grad()
def translate(model: Translation, pixels: Tensor, direction: str, generator: torch.Generator | None = None) -> Tensor:
    """Translate one picture (1, C, H, W) of any size that reflection can continue to what the network takes."""
    height, width = pixels.shape[2:]
    down, right = -height % model.multiple, -width % model.multiple
    if down >= height or right >= width or min(height, width) < 8:
        raise UsageError(
            f"a picture of {height}x{width} is too small: sides are multiples of {model.multiple} from 8 pixels on, or "
            "more than half of one"
        )
    found = model.translate(pad(pixels, (0, right, 0, down), mode="reflect"), direction, generator)
    return found[:, :, :height, :width]


def _pictures(model: Translation, source: str, direction: str) -> Iterator[tuple[str, Tensor]]:
    """Yield the name of each picture's file and its pixels, (1, C, H, W) in [-1, 1], in the channels of its domain."""
    spec = model.spec
    channels = spec.source_channels if direction == "a2b" else spec.channels
    root = Path(source).expanduser()
    if not root.exists():
        raise UsageError(f"source={source}: no such folder or zip; name one with pictures to translate")
    entries = open_files(root).entries()
    if not entries:
        raise UsageError(f"source={source}: no pictures in it")
    stems = Counter(str(PurePosixPath(entry.name).with_suffix("")) for entry in entries)
    for entry in entries:
        stem = str(PurePosixPath(entry.name).with_suffix(""))
        name = f"{stem if stems[stem] == 1 else entry.name}.png"  # a.jpg and a.png must not become one file
        try:
            with entry.open() as file, Image.open(file) as image:
                array = to_array(flatten(image, channels))
        except (OSError, ValueError, SyntaxError) as error:
            raise UsageError(f"source={source}: {entry.name} cannot be read ({one_line(error)})") from error
        yield name, scaled(torch.from_numpy(array[None]).to(model.device))
