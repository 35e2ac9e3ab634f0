"""Toy data sets of points: mixtures of Gaussians, a swiss roll, two moons and a line.

A point of D coordinates is an "image" of shape (D, 1, 1), float32, in the data's own units and unbounded. Training
samples new points for every batch, as in the published protocols; validation and test are fixed samples of 2,500 points
each, the number that PacGAN evaluates.

    gancli train model=toy_gan data=grid25
"""

import math
from abc import abstractmethod
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from gancli.data.keys import typed
from gancli.data.source import SPLITS, Images, Modes, Source, whole
from gancli.errors import UsageError
from gancli.ranges import Signed


class Points(Source):
    """A distribution of points.

    - `n`: points per epoch, and of the fixed training split that metrics use. `n_test`: of validation and test.
    - `scale`: factor that all points are multiplied by, including their noise.
    - `fresh`: sample new points for every training batch; False: train on the `n` fixed points.
    - `seed`: seed of the fixed points, 0 .. 2^32-1.

    Raises UsageError if a number is out of range.
    """

    points = True
    class_names: tuple[str, ...] = ()

    def __init__(
        self,
        n: int = 100_000,
        n_test: int = 2_500,
        scale: float = 1.0,
        fresh: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__("points", validation=0, seed=seed)
        test = whole("n_test", n_test, 2, 2**31)
        self.n = {"train": whole("n", n, 2, 2**31), "validation": test, "test": test}
        self.scale, self.fresh = positive("scale", scale), fresh

    def modes(self) -> Modes | None:
        """Return the scaled normal distributions that the points are drawn from; None if the data is not a mixture."""
        return None

    def draw(self, n: int, generator: Generator) -> tuple[Tensor, Tensor | None]:
        """Draw n points, (n, D, 1, 1) float32, and their labels, (n,) int64 or None, on the generator's device."""
        points, labels = self._draw(n, generator)
        return (self.scale * points)[..., None, None], labels

    @abstractmethod
    def _draw(self, n: int, generator: Generator) -> tuple[Tensor, Tensor | None]:
        """Draw n points, (n, D), before scaling, and their labels."""

    def _load(self, split: str) -> dict[str, Images]:
        seeds = np.random.SeedSequence([self.seed, SPLITS.index(split)]).generate_state(1, np.uint64)
        points, labels = self.draw(self.n[split], torch.Generator().manual_seed(int(seeds[0] >> np.uint64(1))))
        images = self._images(split, points.numpy(), None if labels is None else labels.numpy(), self.class_names)
        fresh = self.draw if self.fresh and split == "train" else None
        return {split: replace(images, spec=replace(images.spec, points=True), fresh=fresh, modes=self.modes())}


class Mixture(Points):
    """A mixture of normal distributions with equal weights; the label is the index of the component."""

    def _place(self, name: str, centres: np.ndarray, std: np.ndarray) -> None:
        """Set the centres, (K, D), and standard deviations, (K,), before scaling."""
        self.name, self._centres, self._std = name, centres.astype(np.float32), std.astype(np.float32)
        self._there: dict[torch.device, tuple[Tensor, Tensor]] = {}  # copied once per device, so that no step waits
        self.class_names = tuple(str(i) for i in range(len(centres)))

    def modes(self) -> Modes:
        return Modes(self.scale * self._centres, self.scale * self._std)

    def _draw(self, n: int, generator: Generator) -> tuple[Tensor, Tensor]:
        where = generator.device
        if where not in self._there:
            centres, std = (torch.from_numpy(part).to(where) for part in (self._centres, self._std[:, None]))
            self._there[where] = centres, std
        centres, std = self._there[where]
        label = torch.randint(len(centres), (n,), device=where, generator=generator)
        noise = torch.randn(n, centres.shape[1], device=where, generator=generator)
        return torch.addcmul(centres[label], std[label], noise), label


class Ring(Mixture):
    """`count` Gaussians of standard deviation `std`, evenly spaced on a circle of `radius`; other arguments: `Points`.

    Both published protocols have the same shape: PacGAN (Lin et al. 2018) radius 1 and std .01 (scale=1), the release
    of Gulrajani et al. 2017 (gan_toy.py) radius 2 and std .02, all divided by 1.414 (scale=1.41421).
    """

    def __init__(self, count: int = 8, radius: float = 1.0, std: float = 0.01, **points: Any) -> None:
        super().__init__(**points)
        # linspace would repeat the first angle at its endpoint and merge two modes.
        angle = 2 * np.pi * np.arange(whole("count", count, 2, 10_000)) / count
        centres = positive("radius", radius) * np.stack([np.cos(angle), np.sin(angle)], 1)
        self._place(f"ring{count}", centres, np.full(count, positive("std", std)))


class Grid(Mixture):
    """`side` x `side` Gaussians of standard deviation `std`, `spacing` apart, centred at 0; other arguments: `Points`.

    PacGAN (Lin et al. 2018): {-4, -2, 0, 2, 4}^2 and std .05 (scale=1); Gulrajani et al. 2017 (gan_toy.py): the same
    divided by 2.828, which gives unit variance (scale=0.353553).
    """

    def __init__(self, side: int = 5, spacing: float = 2.0, std: float = 0.05, **points: Any) -> None:
        super().__init__(**points)
        at = positive("spacing", spacing) * (np.arange(whole("side", side, 2, 100)) - (side - 1) / 2)
        centres = np.stack(np.meshgrid(at, at), -1).reshape(-1, 2)
        self._place(f"grid{side**2}", centres, np.full(side**2, positive("std", std)))


class Gaussians1D(Mixture):
    """Normal distributions on a line, with `means` and `stds` of equal length; other arguments: `Points`."""

    def __init__(self, means: list[Signed], stds: list[float], **points: Any) -> None:
        super().__init__(**points)
        if not means or len(means) != len(stds) or min(stds) <= 0:
            raise UsageError(
                f"{typed('means')}={list(means)} {typed('stds')}={list(stds)}: allowed are lists of equal length, "
                "stds above 0, "
                f"e.g. {typed('means')}=[-2,2] {typed('stds')}=[1,0.5]"
            )
        self._place("gaussians_1d", np.array(means, float)[:, None], np.array(stds, float))


class SwissRoll(Points):
    """A spiral of one and a half turns with normal noise of deviation `noise`; other arguments: `Points`.

    Gulrajani et al. 2017 (gan_toy.py): the first and third coordinate of scikit-learn's make_swiss_roll with noise .25,
    divided by 7.5 (scale=0.133333).
    """

    def __init__(self, noise: float = 0.25, **points: Any) -> None:
        super().__init__(**points)
        self.name = "swiss_roll"
        self.noise = positive("noise", noise, zero=True)

    def _draw(self, n: int, generator: Generator) -> tuple[Tensor, None]:
        t = 1.5 * math.pi * (1 + 2 * torch.rand(n, 1, device=generator.device, generator=generator))
        noise = torch.randn(n, 2, device=generator.device, generator=generator)
        return torch.cat([t * t.cos(), t * t.sin()], 1) + self.noise * noise, None


class TwoMoons(Points):
    """Two interleaving half circles of radius 1, as in scikit-learn's make_moons; the label is the half circle.

    - `noise`: standard deviation of the normal noise. The other arguments are those of `Points`.
    """

    class_names = ("upper", "lower")

    def __init__(self, noise: float = 0.05, **points: Any) -> None:
        super().__init__(**points)
        self.name = "two_moons"
        self.noise = positive("noise", noise, zero=True)

    def _draw(self, n: int, generator: Generator) -> tuple[Tensor, Tensor]:
        where = generator.device
        t = math.pi * torch.rand(n, device=where, generator=generator)
        label = torch.randint(2, (n,), device=where, generator=generator)
        lower = label.float()
        sign = 1 - 2 * lower
        moons = torch.stack([sign * t.cos() + lower, sign * t.sin() + 0.5 * lower], 1)
        return moons + self.noise * torch.randn(n, 2, device=where, generator=generator), label


class Line(Points):
    """(theta, u) with u uniform on [0, 1]: one of the two parallel lines of Arjovsky et al. 2017, Example 1.

    - `theta`: distance from the other line, (0, u). The other arguments are those of `Points`.
    """

    def __init__(self, theta: Signed = 0.0, **points: Any) -> None:
        super().__init__(**points)
        self.name = "line"
        self.theta = theta

    def _draw(self, n: int, generator: Generator) -> tuple[Tensor, None]:
        u = torch.rand(n, device=generator.device, generator=generator)
        return torch.stack([torch.full_like(u, self.theta), u], 1), None


def positive(key: str, value: float, zero: bool = False) -> float:
    """Return ``value`` as a float if it is finite and above 0 (``zero``: or 0), otherwise raise UsageError."""
    if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        raise UsageError(f"{typed(key)}={value}: allowed is a number above 0{' or 0 itself' if zero else ''}")
    return float(value)
