"""Pictures from batches: quantisation, grids, PNG files."""

import io
import logging
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from gancli.data import untrusted
from gancli.files import replacing

log = logging.getLogger("gancli")

_LETTERS = 12  # height of the letters in a margin, pixels
FRAMES, SECONDS = 100, 10  # maximum frames and approximate length of an animation
TILE = 56  # smaller images are enlarged to about this many pixels, so that a grid of 8x8 digits is legible


def make_grid(
    images: Tensor,
    columns: int | None = None,
    gap: int = 2,
    names: Sequence[str] = (),
    heads: Sequence[str] = (),
) -> np.ndarray:
    """Tile (N, C, H, W) uint8 images into one (H', W', 3) uint8 picture, row by row, on a white background.

    Args:
        images: N images of 1 or 3 channels.
        columns: images per row; None for a square.
        gap: pixels between images.
        names: text to the left of the rows.
        heads: text above the columns.
    """
    images = images.cpu().expand(-1, 3, -1, -1) if images.shape[1] == 1 else images.cpu()
    zoom = max(1, round(TILE / max(images.shape[-2:])))
    images = images.repeat_interleave(zoom, -1).repeat_interleave(zoom, -2)
    n, _, h, w = images.shape
    columns = min(n, columns or math.ceil(math.sqrt(n)))
    rows = math.ceil(n / columns)
    grid = torch.full((3, rows * (h + gap) + gap, columns * (w + gap) + gap), 255, dtype=torch.uint8)
    for i, image in enumerate(images):
        top, left = gap + i // columns * (h + gap), gap + i % columns * (w + gap)
        grid[:, top : top + h, left : left + w] = image
    picture = grid.permute(1, 2, 0).numpy()
    return _lettered(picture, (h + gap, w + gap), names, heads) if names or heads else picture


def _lettered(picture: np.ndarray, pitch: tuple[int, int], names: Sequence[str], heads: Sequence[str]) -> np.ndarray:
    """Write the names of rows and columns in a margin; ``pitch`` is their size in pixels."""
    font = ImageFont.load_default(_LETTERS)
    wide = [round(font.getlength(text)) + _LETTERS // 2 for text in (*names, *heads)]
    left = max(wide[: len(names)], default=0)
    turned = any(width > pitch[1] for width in wide[len(names) :])  # too wide for a column, so written vertically
    top = (max(wide[len(names) :]) if turned else 2 * _LETTERS) if heads else 0
    page = Image.new("RGB", (picture.shape[1] + left, picture.shape[0] + top), "white")
    page.paste(Image.fromarray(picture), (left, top))
    for i, text in enumerate(names):
        ImageDraw.Draw(page).text((_LETTERS // 4, top + (i + 0.5) * pitch[0]), text, "black", font, anchor="lm")
    for i, text in enumerate(heads):
        label = Image.new("RGB", (max(wide[len(names) + i], pitch[1]), 2 * _LETTERS), "white")
        centre = (label.width // 2, _LETTERS)
        ImageDraw.Draw(label).text(centre, text, "black", font, anchor="mm")
        label = label.rotate(90, expand=True) if turned else label
        page.paste(label, (left + round((i + 0.5) * pitch[1] - label.width / 2), top - label.height))
    return np.asarray(page)


def to_pil(image: Tensor) -> Image.Image:
    """Convert one (C, H, W) uint8 image of 1 or 3 channels to a PIL image."""
    array = image.cpu().permute(1, 2, 0).numpy()
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)


def png(picture: np.ndarray | Image.Image) -> bytes:
    """Return a picture, (H, W, C) uint8, as the contents of a PNG file."""
    file = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(file, format="png")
    return file.getvalue()


def save_png(path: Path, picture: np.ndarray | Image.Image | bytes) -> None:
    """Write a PNG atomically, of a picture or of what png() returned."""
    with replacing(path) as temporary:
        temporary.write_bytes(picture if isinstance(picture, bytes) else png(picture))


def animate(folder: Path, ending: str = "") -> Path | None:
    """Make a GIF of a folder's numbered pictures, ``run.gif``, and return its path, or None for fewer than two.

    For pictures whose names have an ending, such as ``-a2b``, the GIF is ``run-a2b.gif``.

    If there are more than FRAMES, that many evenly spaced ones are used, including the first and the last. Pictures of
    another size than the last, from before a change of ``samples.n``, are left out.
    """
    files = sorted(file for file in folder.glob("[0-9]*.png") if file.stem.lstrip("0123456789") == ending)
    files = [files[round(i * (len(files) - 1) / (FRAMES - 1))] for i in range(FRAMES)] if len(files) > FRAMES else files
    frames = []
    for file in files:
        try:
            with untrusted.picture_file(file) as image:
                frames.append(image.convert("RGB").quantize(64))
        except untrusted.Unreadable as error:  # a run does not end because of one of its pictures
            log.warning("%s is left out of the animation: %s", file, error)
    frames = [frame for frame in frames if frame.size == frames[-1].size]
    if len(frames) < 2:
        return None
    each = max(50, min(500, 1000 * SECONDS // len(frames)))  # ms
    with replacing(folder / f"run{ending}.gif") as temporary:
        times = [each] * (len(frames) - 1) + [3000]
        frames[0].save(temporary, format="GIF", save_all=True, append_images=frames[1:], duration=times, loop=0)
    return folder / f"run{ending}.gif"
