"""Synthetic pictures with known factors: one coloured shape on a textured ground.

gancli train data=shapes model=dcgan
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from gancli.data.keys import typed
from gancli.data.source import Images, Source, hold_out, whole
from gancli.errors import UsageError

SHAPES = ("circle", "square", "triangle")
COLOURS = {"red": (220, 40, 40), "green": (40, 180, 70), "blue": (50, 80, 220), "yellow": (235, 205, 50)}
LUMA = (0.299, 0.587, 0.114)  # ITU-R 601
_CHUNK = 1000  # images rendered at once, to bound memory
_STREAM = {"train": 0, "test": 1}
_HALF_SIDE = np.sqrt(np.pi) / 2  # of the square, and ...
_INRADIUS = np.sqrt(np.pi / 27**0.5)  # ... of the triangle, with the area of the circle of radius 1


@dataclass(frozen=True)
class Factors:
    """The factors of N pictures. Rendering them with one field changed gives exact counterfactuals."""

    shape: np.ndarray  # (N,) index into SHAPES
    colour: np.ndarray  # (N, 3) RGB, 0 .. 255
    x: np.ndarray  # (N,) centre, pixels from the left edge
    y: np.ndarray  # (N,) centre, pixels from the top edge
    radius: np.ndarray  # (N,) pixels, of the circle of the same area
    ground: np.ndarray  # (N,) mean brightness of the ground, 0 .. 255
    contrast: np.ndarray  # (N,) amplitude of its waves
    wave: np.ndarray  # (N, 3) cycles per picture along x and y, phase in turns

    def __len__(self) -> int:
        return len(self.shape)

    def __getitem__(self, rows: slice | np.ndarray) -> "Factors":
        return Factors(*(getattr(self, field.name)[rows] for field in fields(self)))


def render(factors: Factors, size: int) -> np.ndarray:
    """Render pictures, (N, 3, size, size) uint8, with edges antialiased over one pixel."""
    chunks = [_render(factors[start : start + _CHUNK], size) for start in range(0, len(factors), _CHUNK)]
    return np.concatenate(chunks) if chunks else np.zeros((0, 3, size, size), np.uint8)


def coverage(shape: np.ndarray, x: np.ndarray, y: np.ndarray, radius: np.ndarray, size: int) -> np.ndarray:
    """Return the fraction of each pixel that a shape covers, (N, size, size); arguments are (N,), as in `Factors`."""
    at = np.arange(size) + 0.5  # pixel centres
    dx, dy = at[None, None, :] - x[:, None, None], at[None, :, None] - y[:, None, None]  # (n, 1, W), (n, H, 1)
    r = radius[:, None, None]
    distance = np.choose(  # to the edge, negative inside, (n, H, W)
        shape[:, None, None],
        [
            np.hypot(dx, dy) - r,
            np.maximum(abs(dx), abs(dy)) - _HALF_SIDE * r,
            np.maximum(dy, abs(dx) * 0.75**0.5 - dy / 2) - _INRADIUS * r,  # point upwards
        ],
    )
    return np.clip(0.5 - distance, 0, 1)


def _render(f: Factors, size: int) -> np.ndarray:
    inside = coverage(f.shape, f.x, f.y, f.radius, size)[:, None]  # (n, 1, H, W)
    at = np.arange(size) + 0.5
    turns = (f.wave[:, 0, None, None] * at[None, None, :] + f.wave[:, 1, None, None] * at[None, :, None]) / size
    waves = np.sin(2 * np.pi * (turns + f.wave[:, 2, None, None]))
    ground = (f.ground[:, None, None] + f.contrast[:, None, None] * waves)[:, None]
    return np.rint(ground + inside * (f.colour[:, :, None, None] - ground)).clip(0, 255).astype(np.uint8)


class Shapes(Source):
    """Circles, squares and triangles of random colour, size and position, entirely inside the picture, on grey waves.

    - `n`, `n_test`: number of training and test images.
    - `shapes`, `colours`: names from SHAPES and COLOURS, sampled uniformly and independently.
    - `label`: `shape` or `colour`, the factor that defines the classes.
    - `size`: height and width in pixels, default 32. `channels`: 3, or 1 for the luma.
    - `validation`: as in `Source`. `seed`: seed of the pictures and of the validation split.

    `factors(split)` returns the factors of a split's pictures. Raises UsageError for unknown names.
    """

    size: int

    def __init__(
        self,
        n: int = 10_000,
        n_test: int = 2_000,
        shapes: Sequence[str] = SHAPES,
        colours: Sequence[str] = tuple(COLOURS),
        label: str = "shape",
        size: int | None = 32,
        channels: int | None = 3,
        validation: int | float = 0.05,
        seed: int = 0,
    ) -> None:
        super().__init__("shapes", size or 32, channels, validation, seed)
        self.n = {"train": whole("n", n, 2, 2**31), "test": whole("n_test", n_test, 1, 2**31)}
        self.shapes, self.colours = _chosen("shapes", shapes, SHAPES), _chosen("colours", colours, tuple(COLOURS))
        if label not in ("shape", "colour"):
            raise UsageError(f"{typed('label')}={label!r}: allowed are shape and colour")
        self.label = label
        whole("size", self.size, 8, 1024)

    def factors(self, split: str) -> Factors:
        """Return the factors of the pictures of a split, in the same order."""
        return self.split(split).factors

    def _load(self, split: str) -> dict[str, Images]:
        part = "test" if split == "test" else "train"
        factors, kinds = self._draw(np.random.RandomState([self.seed, _STREAM[part]]), self.n[part])
        pixels = render(factors, self.size)
        if self.channels == 1:
            pixels = np.rint(np.einsum("nchw,c->nhw", pixels, LUMA))[:, None].astype(np.uint8)
        labels = kinds[self.label].astype(np.int64)
        names = self.shapes if self.label == "shape" else self.colours
        if part == "test":
            return {"test": replace(self._images("test", pixels, labels, names), factors=factors)}
        held, kept = hold_out(len(pixels), self.validation, self.seed, "validation")
        shown = {"train": factors[kept], "validation": factors[held]}
        found = self._train_and_validation(pixels, labels, names)
        return {split: replace(images, factors=shown[split]) for split, images in found.items()}

    def _draw(self, random: np.random.RandomState, n: int) -> tuple[Factors, dict[str, np.ndarray]]:
        """Sample the factors of n pictures, and the indices of their shapes and colours among the chosen ones."""
        shape, colour = random.randint(0, len(self.shapes), n), random.randint(0, len(self.colours), n)
        radius = random.uniform(0.13, 0.2, n) * self.size
        margin = 2 * _INRADIUS * radius + 1.5  # the triangle's corners reach farthest; 1.5 pixels for antialiasing
        factors = Factors(
            shape=np.array([SHAPES.index(name) for name in self.shapes])[shape],
            colour=np.array([COLOURS[name] for name in self.colours], float)[colour],
            x=random.uniform(margin, self.size - margin),
            y=random.uniform(margin, self.size - margin),
            radius=radius,
            ground=random.uniform(70, 160, n),
            contrast=random.uniform(0, 35, n),
            wave=random.uniform([-4, -4, 0], [4, 4, 1], (n, 3)),
        )
        return factors, {"shape": shape, "colour": colour}


def _chosen(key: str, names: Sequence[str], known: tuple[str, ...]) -> tuple[str, ...]:
    """Return ``names`` as a tuple if they are known, distinct and at least one, otherwise raise UsageError."""
    if not names or len(set(names)) < len(names) or not set(names) <= set(known):
        raise UsageError(f"{typed(key)}={list(names)}: allowed are one or more of {', '.join(known)}, each once")
    return tuple(names)
