"""Mode collapse: the same two networks under eight objectives, on 8 and on 25 Gaussians.

The scenes are those of Gulrajani et al. 2017 (gan_toy.py), the scoring PacGAN's (Lin et al. 2018): a mode is covered if
a generated point lies within three deviations of it; such points are of high quality. All objectives update their
generator equally often: those with several updates of the critic for each of them see that many times the images.

    gancli train experiment=lecture/mode_collapse
"""

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Generator

from gancli.data.points import Mixture
from gancli.lectures.base import Lecture, LectureContext
from gancli.lectures.players import adversarial_loss, play
from gancli.training.run import Run
from gancli.views import figures, scatter

COLUMNS = 4


class ModeCollapse(Lecture):
    """One panel per data set and objective: real and generated points, modes and quality.

    Args:
        objectives: config nodes of each objective (``loss``, and any others that differ).
        scenes: config nodes of the data sets, which are mixtures of Gaussians.
        titles: titles of the objectives and data sets.
        points: generated points in each panel and its score.

    Raises:
        ValueError: ``points`` is below 1.
    """

    def __init__(
        self, objectives: dict[str, Any], scenes: dict[str, Any], titles: dict[str, str], points: int = 2500
    ) -> None:
        if points < 1:
            raise ValueError(f"points={points} must be 1 or more")
        self.objectives, self.scenes, self.titles, self.points = objectives, scenes, titles, points

    def draw(self, context: LectureContext) -> tuple[Figure, dict[str, Any]]:
        rows = math.ceil(len(self.objectives) / COLUMNS)
        figure, axes = figures.panels(rows * len(self.scenes), COLUMNS, size=(3.1, 3.2))
        numbers: dict[str, Any] = {scene: {} for scene in self.scenes}
        done, all_runs = 0, len(self.scenes) * len(self.objectives)
        for i, (scene, data) in enumerate(self.scenes.items()):
            for j, (name, nodes) in enumerate(self.objectives.items()):
                run = context.build(**nodes, data=data)
                run.total *= adversarial_loss(run).repeat
                for images in play(run):
                    context.show(f"objectives ({scene}, {name})", done * run.total + images, all_runs * run.total)
                done += 1
                panel = axes[i * rows + j // COLUMNS, j % COLUMNS]
                scores = self._score(panel, run, self.titles.get(name, name))
                numbers[scene][name] = scores | {"generator_updates": run.turn}
            for spare in axes[i * rows : (i + 1) * rows].flat[len(self.objectives) :]:
                spare.set_axis_off()
        handles = axes[0, 0].collections
        figure.legend(handles, ("real", "generated"), loc="outside upper center", ncols=2, markerscale=4)
        each = f"{run.turn:,} updates of each generator"
        figures.source(figure, f"scenes: Gulrajani et al. 2017 (gan_toy.py); scores: Lin et al. 2018 (PacGAN); {each}")
        return figure, numbers

    def _score(self, axes: Axes, run: Run, title: str) -> dict[str, float]:
        """Draw samples of the averaged generator and return their scores."""
        with run.ema.sampling() as model:
            drawn = model.sample(self.points, generator=Generator(model.device).manual_seed(run.cfg.seed))
        assert run.scoring is not None, "the scenes are scored: eval.every is not 0"
        values = run.scoring.subjects[0].scorer.score([(drawn, None)]).values
        real = run.source.split("test").pixels[:, :, 0, 0]
        scatter.dots(axes, drawn.flatten(1).cpu().numpy(), real, scatter.window(real))
        assert isinstance(run.source, Mixture)  # the scenes are mixtures of Gaussians
        many = len(run.source.modes().centres)
        score = f"{values['modes']:.0f} of {many} modes, {values['high_quality']:.0f} % near one"
        figures.label(axes, f"{title}\n{score}", "$x_1$", "$x_2$", legend=False)
        axes.title.set_fontsize(10)
        return values
