"""What each level of a growing GAN has learned, beside a network of the same size that does not grow.

Two generators see equally many images. Their samples and real images are averaged down to every level's size and
compared there by the sliced Wasserstein distance (Rabin et al. 2012), which Karras et al. 2018 (section 5) apply to
patches of a Laplacian pyramid and this figure to whole images, which are small.

    gancli train experiment=lecture/progressive
"""

from typing import Any, NamedTuple, cast

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Generator, Tensor
from torch.nn.functional import avg_pool2d

from gancli.data.source import permutation
from gancli.data.spec import scaled
from gancli.lectures.base import Lecture, LectureContext
from gancli.lectures.players import play
from gancli.models.growing import GrowingGAN
from gancli.training.run import Run
from gancli.views import figures
from gancli.views.grids import make_grid

DIRECTIONS = 256
NAMES = ("growing", "complete from the start")
SHOWN = 16  # samples in a panel


class Look(NamedTuple):
    """What was measured after a number of images."""

    images: int
    distances: list[float]  # at each level, from the smallest
    samples: Tensor  # (SHOWN, C, H, W) uint8


class Progressive(Lecture):
    """Distances over images seen, one panel per level; below, samples of both when a level's training in full ends.

    Args:
        grown: share of the run after which the growing network is complete.
        looks: number of times that distances are computed.
        n: samples, and real images, behind each distance.

    Raises:
        ValueError: ``grown`` is not above 0 and at most 1, ``looks`` is below 1, or ``n`` below 16.
    """

    def __init__(self, grown: float = 0.6, looks: int = 20, n: int = 500) -> None:
        if not 0 < grown <= 1 or looks < 1 or n < SHOWN:
            raise ValueError(
                f"grown={grown} must be above 0 and at most 1, looks={looks} 1 or more, n={n} {SHOWN} or more"
            )
        self.grown, self.looks, self.n = grown, looks, n

    def draw(self, context: LectureContext) -> tuple[Figure, dict[str, Any]]:
        seen: list[list[Look]] = []
        for i, (name, grown) in enumerate(zip(NAMES, (self.grown, 0.0))):
            run = context.build(model={**context.cfg.model, "grown": grown})
            model = cast(GrowingGAN, run.model)
            if not i:
                growth, (one, other) = model.growth, self._real(run, 2)
                floor = distances(one, other, growth.last + 1)
            seen.append(self._watch(run, context, name, i))
        levels = range(growth.first, growth.last + 1)
        sides = [min(run.model.spec.shape[1:]) >> (growth.last - level) for level in levels]
        figure, axes = figures.panels(3, len(sides), size=(3.6, 3.2))
        half = growth.begins(growth.first + 1) / 2  # of a level: it is faded in, then trained in full
        for column, (level, side) in enumerate(zip(levels, sides)):
            _curves(
                axes[0, column], f"{side} pixels", [[(x.images, x.distances[level]) for x in each] for each in seen]
            )
            begins = growth.begins(level)
            axes[0, column].axhline(floor[level], color="0.4", ls=":", label="real images")
            axes[0, column].axvspan((begins - half if column else 0) * run.total, begins * run.total, color="0.9", lw=0)
            axes[0, column].set_xlim(0, run.total)
            ends = 1.0 if level == growth.last else begins + half
            for row, (name, each) in enumerate(zip(NAMES, seen), 1):
                look = min(each, key=lambda x: abs(x.images - ends * run.total))
                _samples(axes[row, column], f"{name}, {look.images:,} images", look.samples)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=3)
        figures.source(figure, "Karras et al. 2018, figure 1 and section 5; grey: the level is faded in")
        return figure, _numbers(seen, floor, sides, list(levels))

    def _watch(self, run: Run, context: LectureContext, name: str, index: int) -> list[Look]:
        """Train, and look at regular numbers of images."""
        found: list[Look] = []
        (real,), every = self._real(run, 1), max(run.total // self.looks, 1)
        for images in play(run):
            context.show(f"networks ({name})", index * run.total + images, len(NAMES) * run.total)
            if images // every > len(found) or images >= run.total:
                with run.ema.sampling() as model:
                    drawn = model.sample(self.n, generator=Generator(model.device).manual_seed(run.cfg.seed)).cpu()
                levels = cast(GrowingGAN, run.model).growth.last + 1
                shown = ((drawn[:SHOWN] + 1) * 127.5).round().to(torch.uint8)
                found.append(Look(images, distances(drawn[: len(real)], real, levels), shown))
        return found

    def _real(self, run: Run, sets: int) -> list[Tensor]:
        """Return disjoint sets of as many training images, (n, C, H, W) in [-1, 1]."""
        images = run.source.split("train")
        order, n = permutation(len(images), 0), min(self.n, len(images) // 2)
        return [scaled(torch.from_numpy(images.pixels[order[i * n : (i + 1) * n]])) for i in range(sets)]


def distances(one: Tensor, other: Tensor, levels: int) -> list[float]:
    """Return the sliced Wasserstein distance of images (N, C, H, W) averaged down to each level, the smallest first."""
    factors = [2**i for i in reversed(range(levels))]
    return [sliced(*(avg_pool2d(each, factor).flatten(1) for each in (one, other))) for factor in factors]


def sliced(one: Tensor, other: Tensor) -> float:
    """Return the mean W1 distance of two sets of points, (N, D) each, along DIRECTIONS fixed random unit vectors."""
    directions = torch.randn(one.shape[1], DIRECTIONS, generator=Generator().manual_seed(0))
    directions /= directions.norm(dim=0)
    first, second = ((each.cpu() @ directions).sort(0).values for each in (one, other))
    return (first - second).abs().mean().item()


def _curves(axes: Axes, title: str, curves: list[list[tuple[int, float]]]) -> None:
    for name, curve, colour in zip(NAMES, curves, figures.COLOURS):
        axes.plot(*zip(*curve), color=colour, lw=1.6, label=name)
    figures.label(axes, title, "images seen", "sliced Wasserstein distance", legend=False)
    axes.xaxis.set_major_formatter(figures.EngFormatter(sep=""))
    axes.set_ylim(0, None)


def _samples(axes: Axes, title: str, samples: Tensor) -> None:
    axes.imshow(make_grid(samples, 4), interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(title, fontsize=9)


def _numbers(seen: list[list[Look]], floor: list[float], sides: list[int], levels: list[int]) -> dict[str, Any]:
    """Return the last distances by network and level, those of real images, and all on the way."""
    numbers: dict[str, Any] = {"real images": {f"{side} px": floor[level] for side, level in zip(sides, levels)}}
    for name, each in zip(NAMES, seen):
        numbers[name] = {f"{side} px": each[-1].distances[level] for side, level in zip(sides, levels)}
        numbers[name]["images"] = [look.images for look in each]
        numbers[name]["on_the_way"] = [look.distances for look in each]
    return numbers
