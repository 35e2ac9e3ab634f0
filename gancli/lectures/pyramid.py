"""The Laplacian pyramid: Burt & Adelson 1983, as LAPGAN (Denton et al. 2015) decomposes images; exact.

An image is its coarsest level and, for every finer one, the residual h = I - up(down(I)). Adding them up again gives
the image to rounding. With 2x2 means and nearest neighbours a residual is orthogonal to all that is coarser, so that
the levels' variances add up to that of the image. Of natural images residuals are mostly close to zero and take fewer
bits per value than the image, which is why Burt & Adelson compressed them.

    gancli train experiment=lecture/pyramid data=mnist
"""

from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from gancli import config
from gancli.errors import UsageError
from gancli.lectures.base import Lecture, LectureContext
from gancli.nn import laplacian
from gancli.ranges import Positive
from gancli.views import figures

LEVELS = 127.5  # steps of a byte per unit of [-1, 1]


class Pyramid(Lecture):
    """A row per image with its levels and residuals; variance and entropy of each level.

    Args:
        shown: images in the figure, the first of the training split.
        images: training images of the statistics.
        smallest: pixels that the coarsest level has at least.
    """

    def __init__(self, shown: Positive = 3, images: Positive = 1000, smallest: Positive = 7) -> None:
        self.shown, self.images, self.smallest = shown, images, smallest

    def draw(self, context: LectureContext) -> tuple[Figure, dict[str, Any]]:
        cfg = context.cfg
        train = config.build_data(cfg.data, trust=cfg.trust)[0].split("train")
        sizes = laplacian.sizes(train.spec.height, train.spec.width, self.smallest)
        if train.spec.points or len(sizes) == 1:
            raise UsageError(
                f"{train.name} cannot be halved down to lecture.smallest={self.smallest} pixels: choose images, such "
                "as data.size=32, or a lower number"
            )
        image = torch.from_numpy(train.pixels[: max(self.images, self.shown)]).double() / LEVELS - 1
        images = laplacian.gaussian(image, len(sizes))
        pyramid = laplacian.residuals(images)
        error = (laplacian.collapse(pyramid) - image).abs().max().item()
        names = [f"{height}" for height, _ in sizes]
        numbers = {
            "max_error": error,
            "max_low_frequency": max(laplacian.down(each).abs().max().item() for each in pyramid[1:]),
            "variance": dict(zip(names, variances(pyramid), strict=True)),
            "variance_of_images": variances([image])[0],
            "bits_image": {name: entropy(each) for name, each in zip(names, images, strict=True)},
            "bits_residual": {name: entropy(each) for name, each in zip(names[1:], pyramid[1:], strict=True)},
        }
        return self._figure(images, pyramid, numbers, names, train.name), numbers

    def _figure(
        self, images: list[Tensor], pyramid: list[Tensor], numbers: dict[str, Any], names: list[str], data: str
    ) -> Figure:
        shown, columns = min(self.shown, len(images[0])), 2 * len(images) - 1
        figure, axes = figures.panels(shown + 1, columns, size=(2.2, 2.2))
        for row in range(shown):
            tiles = [images[0][row]]
            for image, residual in zip(images[1:], pyramid[1:]):
                tiles += [residual[row] / 2, image[row]]
            for axis, tile in zip(axes[row], tiles, strict=True):
                _picture(axis, tile)
        heads = [f"{names[0]} pixels"]
        for name in names[1:]:
            heads += [f"+ residual / 2, {name}", f"= {name} pixels"]
        for axis, head in zip(axes[0], heads, strict=True):
            axis.set_title(head)
        axes[-2, -1].set_xlabel(f"maximal error {numbers['max_error']:.1g}")
        wide, middle = axes[-1, 0].get_gridspec(), columns // 2
        for axis, place in zip(axes[-1], (wide[-1, :middle], wide[-1, middle:])):
            axis.set_subplotspec(place)
        for axis in axes[-1, 2:]:
            axis.remove()
        _variance(axes[-1, 0], numbers)
        _bits(axes[-1, 1], numbers)
        figures.source(
            figure, f"Burt & Adelson 1983; Denton et al. 2015, section 2.2; {len(images[0]):,} images: {data}"
        )
        return figure


def variances(pyramid: list[Tensor]) -> list[float]:
    """Return the mean square that each level adds to an image, around the image's own mean."""
    coarsest, *residuals = pyramid
    centred = coarsest - coarsest.mean((1, 2, 3), keepdim=True)
    return [each.square().mean().item() for each in (centred, *residuals)]


def entropy(values: Tensor) -> float:
    """Return the entropy in bits per value of pixels or residuals that are rounded to the steps of a byte.

    Values of all pixels and channels are counted together, as if they were independent.
    """
    counts = (values * LEVELS).round().flatten().unique(return_counts=True)[1].double()
    return (torch.special.entr(counts / counts.sum()).sum() / torch.log(torch.tensor(2.0))).item()


def _picture(axes: Axes, image: Tensor) -> None:
    """Show an image (C, H, W) in [-1, 1] without ticks."""
    grey = len(image) == 1
    pixels = ((image + 1) / 2).clamp(0, 1).permute(1, 2, 0).numpy()
    axes.imshow(pixels[..., 0] if grey else pixels, cmap="grey" if grey else None, vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)


def _variance(axes: Axes, numbers: dict[str, Any]) -> None:
    shares = {name: 100 * value / numbers["variance_of_images"] for name, value in numbers["variance"].items()}
    bars = axes.bar(list(shares), list(shares.values()), color=figures.COLOURS[0])
    axes.bar_label(bars, fmt="%.1f")
    axes.set_ylim(0, 1.2 * max(shares.values()))
    figures.label(axes, "share of the variance", "level, pixels", "%")


def _bits(axes: Axes, numbers: dict[str, Any]) -> None:
    names = list(numbers["bits_image"])
    for offset, key, colour in ((-0.2, "bits_image", 1), (0.2, "bits_residual", 2)):
        values = numbers[key]
        places = [names.index(name) + offset for name in values]
        bars = axes.bar(places, list(values.values()), 0.4, color=figures.COLOURS[colour], label=key.split("_")[1])
        axes.bar_label(bars, fmt="%.1f")
    axes.set_xticks(range(len(names)), names)
    axes.set_ylim(0, 1.3 * max(numbers["bits_image"].values()))
    figures.label(axes, "entropy", "level, pixels", "bits per value")
