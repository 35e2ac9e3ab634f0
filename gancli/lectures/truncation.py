"""Quality against variety: the truncation trick on a generator that the lecture trains.

Truncation draws latents closer to their mean than in training (Brock et al. 2019, section 3.1 and Figure 2; Karras et
al. 2019, appendix B). Precision says how many generated images lie among the real ones, recall how many real ones lie
among the generated (Kynkaanniemi et al. 2019, whose Figure 5 shows this trade-off); the Fréchet distance sees both, and
so prefers the untruncated prior or little truncation, whatever the eye may like.

    gancli train experiment=lecture/truncation
    gancli train experiment=lecture/truncation model=biggan 'lecture.values=[2,1,0.5,0.25]'
"""

from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from gancli import config
from gancli.lectures.base import Lecture, LectureContext
from gancli.lectures.players import play
from gancli.models.base import Model
from gancli.models.sampling import class_labels, draw
from gancli.ranges import Above, Positive
from gancli.training.run import Run
from gancli.views import figures
from gancli.views.grids import make_grid

PANELS = 4
SHOWN = 36  # samples in a panel
WITHOUT = "none"  # name of what is drawn without truncation


class Truncation(Lecture):
    """Precision, recall and Fréchet distance at several values of truncation; below, samples of the same seed.

    Args:
        values: of truncation, the strongest last; the first column is always without.
        n: images behind each number.
        shown: values whose samples are shown, three at most.

    Raises:
        ValueError: ``values`` is empty, or ``shown`` names more than three or others.
    """

    def __init__(self, values: list[Above], n: Positive = 1000, shown: list[float] | None = None) -> None:
        picked = values[:: -(-len(values) // (PANELS - 1))] if values and shown is None else shown or []
        if not values or len(picked) > PANELS - 1 or not set(picked) <= {*values}:
            raise ValueError(f"values={values} must not be empty, and shown={shown} be three of them at most")
        self.values, self.n, self.shown = values, n, picked

    def draw(self, context: LectureContext) -> tuple[Figure, dict[str, Any]]:
        for each in self.values:  # before anything is trained
            config.check_sampling({"truncation": each}, context.cfg.model)
        run = context.build()
        for images in play(run):
            context.show("the generator", images, run.total)
        figure, axes = figures.panels(2, PANELS, size=(3.3, 3.2))
        real = torch.from_numpy(run.source.split("train").pixels[: self.n])
        numbers: dict[str, Any] = {"real training images": self._scores(run, real)}
        _samples(axes[0, -1], "real training images", real)
        shown = iter(axes[1])
        with run.ema.sampling() as model:
            for i, value in enumerate((None, *self.values)):
                context.show("values of truncation", i, 1 + len(self.values))
                drawn = self._drawn(model, run, value)
                name = WITHOUT if value is None else f"{value:g}"
                numbers[name] = self._scores(run, drawn)
                if value is None or value in self.shown:
                    _samples(next(shown), f"truncation: {name}", drawn)
        for spare in shown:
            spare.set_axis_off()
        _curves(axes[0], numbers)
        figures.source(figure, "Brock et al. 2019, Figure 2; Karras et al. 2019, appendix B; Kynkaanniemi et al. 2019")
        return figure, numbers

    def _drawn(self, model: Model, run: Run, value: float | None) -> Tensor:
        """Return n images, (n, C, H, W) uint8, and leave the model without truncation."""
        options = {"truncation": value}  # by name: models without the option are refused
        model.set_sampling(**options)
        try:
            labels = class_labels(model, self.n)
            batches = draw(model, self.n, seed=run.cfg.seed, batch_size=run.cfg.batch_size, labels=labels)
            return torch.cat([images.cpu() for images, _ in batches])
        finally:
            model.set_sampling()

    def _scores(self, run: Run, images: Tensor) -> dict[str, float]:
        assert run.scoring is not None, "the generator is scored: eval.every is not 0"
        return run.scoring.subjects[0].scorer.score([(images, None)]).values


def _curves(axes: Any, numbers: dict[str, dict[str, float]]) -> None:
    """Draw both shares against truncation, one against the other, and the distance."""
    real, *drawn = numbers.values()
    names = [name for name in numbers][1:]
    at = range(len(names))
    for key, colour in zip(("precision", "recall"), figures.COLOURS):
        axes[0].plot(at, [each[key] for each in drawn], "o-", color=colour, label=key)
        axes[0].axhline(real[key], color=colour, ls=":", lw=1)
    axes[0].set_ylim(0, 1.02)
    figures.label(axes[0], "quality against variety", "truncation", "share of images")
    axes[1].plot([each["recall"] for each in drawn], [each["precision"] for each in drawn], "o-", color="0.3")
    for name, each in zip(names, drawn):
        axes[1].annotate(
            name, (each["recall"], each["precision"]), textcoords="offset points", xytext=(5, 4), fontsize=8
        )
    axes[1].plot(real["recall"], real["precision"], "*", ms=12, color=figures.COLOURS[2], label="real training images")
    figures.label(axes[1], "the trade", "recall", "precision")
    axes[2].plot(at, [each["fid"] for each in drawn], "o-", color=figures.COLOURS[3])
    axes[2].axhline(real["fid"], color=figures.COLOURS[3], ls=":", lw=1, label="real training images")
    figures.label(axes[2], "Fréchet distance", "truncation", "FID")
    figures.scale_y(axes[2], [np.array([each["fid"] for each in drawn])])
    for axis in (axes[0], axes[2]):
        axis.set_xticks(at, names)


def _samples(axes: Axes, title: str, samples: Tensor) -> None:
    axes.imshow(make_grid(samples[:SHOWN], 6), interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(title, fontsize=9)
