"""Pictures out of batches: quantisation, grids, PNG files."""

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gancli.files import replacing

FRAMES, SECONDS = 100, 10  # of an animation, at most and about
TILE = 56  # smaller images are enlarged to about so many pixels, or a grid of 8x8 digits could not be read


def quantise(image: Tensor) -> Tensor:
    """Map [-1, 1] to uint8 by rounding: the bytes an image file holds, and what every metric is computed on."""
    return ((image.float() + 1) * 127.5).clamp_(0, 255).round_().to(torch.uint8)


def make_grid(images: Tensor, columns: int | None = None, gap: int = 2) -> np.ndarray:
    """Tile (N, C, H, W) uint8 images into one (H', W', 3) uint8 picture, row by row, on a white ground.

    Args:
        images: N images of 1 or 3 channels.
        columns: images per row; None for a square.
        gap: pixels between images.
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
    return grid.permute(1, 2, 0).numpy()


def to_pil(image: Tensor) -> Image.Image:
    """Turn one (C, H, W) uint8 image of 1 or 3 channels into a picture."""
    array = image.cpu().permute(1, 2, 0).numpy()
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)


def save_png(path: Path, picture: np.ndarray | Image.Image) -> None:
    """Write a PNG whole or not at all."""
    with replacing(path) as temporary:
        (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(temporary, format="png")


def animate(folder: Path) -> Path | None:
    """Make one GIF of a folder's numbered pictures, ``run.gif``, and return it; None: there are not two to show.

    Of many, as many as FRAMES are taken evenly, the first and the last among them; those of another size than the last,
    from before a change of ``samples.n``, are left out.
    """
    files = sorted(folder.glob("[0-9]*.png"))
    files = [files[round(i * (len(files) - 1) / (FRAMES - 1))] for i in range(FRAMES)] if len(files) > FRAMES else files
    frames = []
    for file in files:
        with Image.open(file) as image:
            frames.append(image.convert("RGB").quantize(64))
    frames = [frame for frame in frames if frame.size == frames[-1].size]
    if len(frames) < 2:
        return None
    each = max(50, min(500, 1000 * SECONDS // len(frames)))  # ms
    with replacing(folder / "run.gif") as temporary:
        times = [each] * (len(frames) - 1) + [3000]
        frames[0].save(temporary, format="GIF", save_all=True, append_images=frames[1:], duration=times, loop=0)
    return folder / "run.gif"
