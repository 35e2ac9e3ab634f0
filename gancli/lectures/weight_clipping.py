"""Weight clipping versus gradient penalty: Gulrajani et al. 2017, Improved Training of Wasserstein GANs, figure 1.

Critics alone, trained until they are close to their optimum, against a fixed generator: the data plus normal noise.
Clipping pushes the weights to both ends of what is allowed and leaves the critic with a simple surface; the penalty
does neither, and its critic is higher at the modes of a ring than in the empty middle. (The paper's figure has one more
panel, gradients through 12 layers, which is not drawn here.)

    gancli train experiment=lecture/weight_clipping
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from gancli.lectures.base import Lecture, LectureContext
from gancli.lectures.players import adversarial_model, critic_alone
from gancli.training.run import Run
from gancli.views import figures, scatter

SHOWN, GRID, LEVELS = 1000, 121, 12  # real points, points per side of the surface, contour lines


class WeightClipping(Lecture):
    """Value surfaces of critics on several data sets, and the critics' weights.

    Args:
        players: config nodes of the critics.
        scenes: config nodes of the data sets.
        titles: titles of the critics and data sets.
        noise: standard deviation of the noise that turns real points into generated ones.

    Raises:
        ValueError: the noise is not positive.
    """

    def __init__(
        self, players: dict[str, Any], scenes: dict[str, Any], titles: dict[str, str], noise: float = 1.0
    ) -> None:
        if noise <= 0:
            raise ValueError(f"noise={noise} must be above 0")
        self.players, self.scenes, self.titles, self.noise = players, scenes, titles, noise

    def draw(self, context: LectureContext) -> tuple[Figure, dict[str, Any]]:
        figure, axes = figures.panels(len(self.players), len(self.scenes) + 1, size=(3.9, 3.6))
        numbers: dict[str, Any] = {name: {} for name in self.players}
        for i, (name, nodes) in enumerate(self.players.items()):
            for j, (scene, data) in enumerate(self.scenes.items()):
                run = context.build(**nodes, data=data)
                self._learn(run, context, i * len(self.scenes) + j)
                numbers[name][scene] = measure(run)
                _draw_surface(axes[i, j], run, f"{self.titles.get(scene, scene)}: {self.titles.get(name, name)}")
            _draw_weights(axes[i, -1], run, f"weights: {self.titles.get(name, name)}")
        figures.source(figure, "Gulrajani et al. 2017, figure 1; contour lines of f(x) on each panel's own scale")
        return figure, numbers

    def _learn(self, run: Run, context: LectureContext, i: int) -> None:
        fresh = run.source.split("train").fresh
        assert fresh is not None  # the data sets are distributions
        run.model.generator = Blurred(fresh, self.noise, run.model.device)
        for _ in critic_alone(run):
            context.show("critics", i * run.total + run.images, len(self.players) * len(self.scenes) * run.total)


class Blurred(nn.Module):
    """A fixed generator: real points plus the latents, (N, D) -> (N, D, 1, 1)."""

    def __init__(self, draw: Callable[..., tuple[Tensor, Any]], noise: float, device: torch.device) -> None:
        super().__init__()
        self.draw, self.noise, self.random = draw, noise, torch.Generator(device).manual_seed(0)

    def forward(self, z: Tensor) -> Tensor:
        return self.draw(len(z), self.random)[0] + self.noise * z[..., None, None]


def weights_of(run: Run) -> np.ndarray:
    """Return all entries of the critic's weight matrices, (K,)."""
    weights = adversarial_model(run).discriminator.parameters()
    return torch.cat([p.detach().flatten() for p in weights if p.ndim > 1]).cpu().numpy()


def measure(run: Run) -> dict[str, float]:
    """Return statistics that distinguish the two kinds of critics.

    ``at_bound``: the share of weights within 1 % of the largest; ``slope_at_data``: the mean norm of f's gradient at
    real points, and ``slope_spread``, its deviation over that mean: 0 for a critic that is equally steep everywhere;
    ``above_centre``: the mean of f at real points less f at the origin, positive for an optimal critic of the ring,
    where generated points fall and real ones do not.
    """
    weights = np.abs(weights_of(run))
    real = torch.from_numpy(run.source.split("test").pixels).to(run.model.device).requires_grad_()
    (gradient,) = torch.autograd.grad(adversarial_model(run).score(real).sum(), real)
    norms = gradient.flatten(1).norm(dim=1)
    with torch.no_grad():
        score = adversarial_model(run).score
        above = score(real).mean() - score(torch.zeros_like(real[:1])).squeeze()
    return {
        "at_bound": float((weights > 0.99 * weights.max()).mean()),
        "largest_weight": float(weights.max()),
        "slope_at_data": norms.mean().item(),
        "slope_spread": (norms.std() / norms.mean()).item(),
        "above_centre": above.item(),
    }


def _draw_surface(axes: Axes, run: Run, title: str) -> None:
    real = run.source.split("test").pixels[:SHOWN, :, 0, 0]
    where = scatter.window(real)
    found = scatter.field(adversarial_model(run), where, GRID)
    x, y = found.at[..., 0], found.at[..., 1]
    levels = np.linspace(found.score.min(), found.score.max(), LEVELS + 2)
    axes.contourf(x, y, found.score, levels, cmap="viridis", alpha=0.55)
    axes.contour(x, y, found.score, levels, cmap="viridis", linewidths=1)
    axes.plot(*real.T, ".", color=scatter.GENERATED, ms=2, alpha=0.7)
    axes.grid(False)
    figures.label(axes, title, "$x_1$", "$x_2$", legend=False)
    axes.set(aspect="equal")


def _draw_weights(axes: Axes, run: Run, title: str) -> None:
    weights = weights_of(run)
    reach = 1.1 * np.quantile(np.abs(weights), 0.99)
    axes.hist(weights, np.linspace(-reach, reach, 81).tolist(), weights=np.full(len(weights), 100 / len(weights)))
    figures.label(axes, title, "weight", "% of the weights", legend=False)
