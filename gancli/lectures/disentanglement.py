"""Why a style space: Karras et al. 2019, A Style-Based Generator Architecture for GANs, sections 4 and 4.1, Figure 6.

Two factors of variation are each positive or negative, but never both positive: a square without a corner. Normal
latents z fill a disc, so that a generator has to bend them around the corner. A style-based one may do that in its
mapping, z -> w, and keep the way from w to the points straight; path length regularisation (StyleGAN2, eq. 4) asks for
it. The generators minimise the energy distance to the data, which needs no discriminator. For z and w the lecture gives

- linear separability (section 4.2): exp(sum_i H(Y_i | X_i)), with Y_i whether a factor of the point is positive and X_i
  what a linear classifier of z, or w, says; 1 is perfect. The classifier is a logistic regression, theirs an SVM.
- path length (section 4.1): the mean square of the point's speed on the straight line between two z, or two w. The
  distance is Euclidean, theirs one of VGG features; they walk on arcs in z. ``detour`` is its ratio to the mean squared
  distance of the two points, which no way between them has less than; 1 is a straight way at one speed.

    gancli train experiment=lecture/disentanglement
"""

import math
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Generator, Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from gancli.lectures.base import Lecture, LectureContext
from gancli.losses.path_length import PathLength
from gancli.losses.penalties import PenaltyInputs
from gancli.nn.shortcut import Residual
from gancli.ranges import Positive
from gancli.views import figures

STEP = 1e-4  # of a path, as in the paper
RATE = 5e-3  # of learning, falling linearly to 0
PARTS = ("both negative", "first positive", "second positive")


class Disentanglement(Lecture):
    """The latents and the styles of a plane without a corner, with and without path length regularisation.

    Args:
        steps: updates of each generator.
        batch: points per update.
        units: units of each hidden layer.
        weight: weight of path length regularisation.
        points: points that are drawn, and measured.
    """

    def __init__(
        self,
        steps: Positive = 3000,
        batch: Positive = 256,
        units: Positive = 32,
        weight: float = 0.2,
        points: Positive = 4000,
    ) -> None:
        self.steps, self.batch, self.units, self.weight, self.points = steps, batch, units, weight, points

    def draw(self, context: LectureContext) -> tuple[Figure, dict[str, Any]]:
        figure, axes = figures.panels(1, 4, size=(3.7, 3.7))
        real = corner(self.points, torch.Generator().manual_seed(0))
        _draw(axes[0, 0], "data", real, real, {})
        numbers: dict[str, Any] = {}
        for i, (name, weight) in enumerate((("plain", 0.0), ("regularised", self.weight))):
            torch.manual_seed(context.cfg.seed)
            mapping, synthesis = networks(self.units)
            self._train(mapping, synthesis, weight, name, context)
            mapping, synthesis = mapping.double(), synthesis.double()
            with torch.no_grad():
                z = torch.randn(self.points, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
                w = mapping(z)
                x = synthesis(w)
                spaces = {
                    "z": measured(z, x, lambda each, m=mapping, s=synthesis: s(m(each))),
                    "w": measured(w, x, synthesis),
                }
            numbers[name] = {"energy_distance": energy_distance(x[:1000], real[:1000]).item(), **spaces}
            if not i:
                _draw(axes[0, 1], "latents z", z, x, spaces["z"])
            _draw(axes[0, 2 + i], "styles w" + (", path length regularised" if i else ""), w, x, spaces["w"])
        axes[0, 0].legend(fontsize=8, loc="upper right", markerscale=4)
        figures.source(figure, "Karras et al. 2019, Figure 6, sections 4.1 and 4.2; Karras et al. 2020, eq. 4")
        return figure, numbers

    def _train(
        self, mapping: nn.Module, synthesis: nn.Module, weight: float, name: str, context: LectureContext
    ) -> None:
        """Minimise the energy distance of generated points to the data."""
        optimizer = torch.optim.Adam([*mapping.parameters(), *synthesis.parameters()], lr=RATE)
        generator, term = torch.Generator().manual_seed(context.cfg.seed), PathLength(weight, shrink=1)

        def styled(n: int) -> tuple[Tensor, Tensor]:
            ws = mapping(torch.randn(n, 2, generator=generator))[:, None]
            return ws, synthesis(ws[:, 0])[..., None, None]

        for step in range(self.steps):
            context.show(name, step, self.steps)
            real = corner(self.batch, generator).float()
            fake = styled(self.batch)[1].flatten(1)
            loss = energy_distance(fake, real)
            if weight and step % term.interval == 0:
                loss = loss + term.interval * term(
                    PenaltyInputs(synthesis, nn.Identity(), real, real.clone, styled=styled)
                )
            optimizer.zero_grad()
            loss.backward()
            for group in optimizer.param_groups:
                group["lr"] = RATE * (1 - step / self.steps)
            optimizer.step()


def networks(units: int) -> tuple[nn.Module, nn.Module]:
    """Return a mapping, z (N, 2) -> w (N, 2), and a synthesis, w -> x (N, 2); both begin close to the identity."""

    def residual(hidden: int) -> nn.Module:
        layers: list[nn.Module] = [nn.Linear(2, units), nn.SiLU()]
        for _ in range(hidden - 1):
            layers += [nn.Linear(units, units), nn.SiLU()]
        return Residual(*layers, nn.Linear(units, 2))

    return residual(4), residual(2)


def corner(n: int, generator: Generator) -> Tensor:
    """Draw points uniformly from [-1, 1]^2 without its positive quadrant, (n, 2) float64."""
    inside = torch.rand(n, 2, generator=generator, dtype=torch.float64)
    signs = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    return inside * signs[torch.randint(3, (n,), generator=generator)]


def energy_distance(x: Tensor, y: Tensor) -> Tensor:
    """Return 2 E|x - y| - E|x - x'| - E|y - y'|, (), without bias: 0 for equal distributions. (n, D), (m, D)."""
    inner = [torch.cdist(each, each).sum() / (len(each) * (len(each) - 1)) for each in (x, y)]
    return 2 * torch.cdist(x, y).mean() - inner[0] - inner[1]


def measured(space: Tensor, x: Tensor, image: Any) -> dict[str, float]:
    """Return the numbers of a space: its points (N, 2), their images x (N, 2), and the map from one to the other."""
    paths = path_length(space, image)
    straight = 2 * x.var(0).sum().item()  # E |x - x'|^2 of two independent points
    return {"separability": separability(space, x > 0), "path_length": paths, "detour": paths / straight}


def path_length(space: Tensor, image: Any) -> float:
    """Return E |image(p + (t + eps)(q - p)) - image(p + t (q - p))|^2 / eps^2 for pairs p, q of points, t ~ U(0, 1)."""
    start, end = space[::2], space[1::2]
    t = torch.rand(len(end), 1, generator=torch.Generator().manual_seed(2), dtype=space.dtype)
    near, far = (image(torch.lerp(start[: len(end)], end, each)) for each in (t, t + STEP))
    return ((far - near) / STEP).square().sum(1).mean().item()


def separability(space: Tensor, positive: Tensor) -> float:
    """Return exp(sum_i H(Y_i | X_i)): factors (N, K) bool, and what linear classifiers of (N, 2) points say of them."""
    total = 0.0
    for truth in positive.unbind(1):
        said = classified(space, classifier(space, truth)) > 0
        for answer in (True, False):
            group = truth[said == answer].double()
            share = group.mean().item() if len(group) else 0.0
            total -= len(group) / len(truth) * sum(p * math.log(p) for p in (share, 1 - share) if p)
    return math.exp(total)


def classifier(space: Tensor, truth: Tensor) -> Tensor:
    """Return weights and bias, (3,), of a logistic regression of a bool, (N,), on points (N, 2), slightly damped."""
    with torch.enable_grad():
        weight = torch.zeros(3, dtype=space.dtype, requires_grad=True)
        optimizer = torch.optim.LBFGS([weight], max_iter=100, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            fit = binary_cross_entropy_with_logits(classified(space, weight), truth.to(space.dtype))
            fit = fit + 1e-5 * weight.square().sum()  # where classes separate, the weights would grow without end
            fit.backward()
            return fit

        optimizer.step(loss)
    return weight.detach()


def classified(space: Tensor, weight: Tensor) -> Tensor:
    """Return the logits of points. (N, 2), (3,) -> (N,)."""
    return space @ weight[:2] + weight[2]


def _draw(axes: Axes, title: str, space: Tensor, x: Tensor, numbers: dict[str, float]) -> None:
    part = (x[:, 0] > 0).int() + 2 * (x[:, 1] > 0).int()  # 3, the missing corner, is drawn in black
    for i, name in enumerate((*PARTS, "missing corner")):
        mine = space[part == i]
        colour = figures.COLOURS[i] if i < len(PARTS) else "black"
        axes.plot(mine[:, 0], mine[:, 1], ".", ms=2, color=colour, label=name if len(mine) else None)
    low, high = space.amin(0), space.amax(0)
    axes.set(xlim=(low[0].item(), high[0].item()), ylim=(low[1].item(), high[1].item()))
    if numbers:
        for i in range(2):
            a, b, c = classifier(space, x[:, i] > 0).tolist()
            axes.axline((-a * c / (a * a + b * b), -b * c / (a * a + b * b)), slope=-a / b, color="0.2", lw=1)
        title += f"\nseparability {numbers['separability']:.2f}, detour {numbers['detour']:.2f}"
    figures.label(axes, title, "", "", legend=False)
