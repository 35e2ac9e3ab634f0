"""The Dirac-GAN: Mescheder, Geiger & Nowozin 2018, Which Training Methods for GANs do actually Converge?

The data are a single point, 0; the generator produces a single point, theta; the discriminator is a line of slope psi.
Gradient descent runs by Euler's method from theta = psi = 1, with simultaneous or alternating updates. All gradients
come from gancli's losses and penalties. The score (of being real) is -psi x, since the paper's discriminator assigns
positive values to generated points.

    gancli train experiment=lecture/dirac_gan
"""

import math
from functools import reduce
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from gancli.data.spec import Batch, ImageSpec
from gancli.lectures.base import Lecture, LectureContext
from gancli.losses.adversarial import AdversarialLoss
from gancli.models.base import Adversarial
from gancli.ranges import Signed
from gancli.views import figures

REACH = 2.2  # limit of the axes


class Dirac(Adversarial):
    """Two numbers: the generator's point and the slope of the discriminator."""

    generator: nn.Linear
    discriminator: nn.Linear

    def __init__(self, theta: Signed = 1.0, psi: Signed = 1.0) -> None:
        super().__init__(ImageSpec(1, 1, 1))
        self.generator, self.discriminator = (nn.Linear(1, 1, bias=False).double() for _ in range(2))
        self.place(torch.tensor([theta, psi], dtype=torch.float64))

    def latent(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        return torch.ones(n, 1, dtype=torch.float64)

    def score(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        return -self.discriminator(image).squeeze(1)

    def place(self, state: Tensor) -> None:
        """Set (theta, psi)."""
        for net, value in zip((self.generator, self.discriminator), state):
            net.weight.data.fill_(value)

    def state(self) -> Tensor:
        """Return (theta, psi)."""
        return torch.stack([self.generator.weight.data[0, 0], self.discriminator.weight.data[0, 0]])


class DiracGAN(Lecture):
    """Trajectories of several methods in the (theta, psi) plane.

    Args:
        methods: the losses, with their penalties and stabilizers, by name; ``consensus`` also gets its regulariser.
        titles: panel titles by method.
        steps: number of Euler steps.
        rate: step size h.
        samples: points per step for methods that draw noise.
        consensus: weight of |v|^2 / 2 in the method of this name.

    Raises:
        ValueError: ``steps`` or ``samples`` is below 1.
    """

    def __init__(
        self,
        methods: dict[str, AdversarialLoss],
        titles: dict[str, str],
        steps: int = 500,
        rate: float = 0.2,
        samples: int = 1000,
        consensus: float = 1.0,
    ) -> None:
        if steps < 1 or samples < 1:
            raise ValueError(f"steps={steps} and samples={samples} must be 1 or more")
        self.methods, self.titles, self.steps, self.rate = methods, titles, steps, rate
        self.samples, self.consensus = samples, consensus

    def draw(self, context: LectureContext) -> tuple[Figure, dict[str, Any]]:
        rows = math.ceil(len(self.methods) / 3)
        figure, axes = figures.panels(rows, 3, size=(3.6, 3.5), sharex=True, sharey=True)
        radii: dict[str, dict[str, float]] = {}
        for i, (name, loss) in enumerate(self.methods.items()):
            context.show("Dirac-GAN", i, len(self.methods))
            game = Dynamics(loss, self.samples, self.consensus if name == "consensus" else 0.0)
            paths = {how: self._descend(game, how) for how in ("simultaneous", "alternating")}
            radii[name] = {how: path[-1].norm().item() for how, path in paths.items()}
            _draw(axes.flat[i], self.titles.get(name, name), paths, game)
        for spare in axes.flat[len(self.methods) :]:
            spare.set_axis_off()
        for row in axes:
            row[0].set_ylabel(r"$\psi$ (discriminator)")
        for below in axes[-1]:
            below.set_xlabel(r"$\theta$ (generator)")
        figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
        figures.source(figure, f"Mescheder, Geiger & Nowozin 2018; {self.steps} Euler steps of {self.rate}")
        return figure, {"steps": self.steps, "rate": self.rate, "radius": radii}

    def _descend(self, game: "Dynamics", how: str) -> Tensor:
        """Return the path, (steps + 1, 2)."""
        path = [game.bounded(torch.ones(2, dtype=torch.float64))]
        for _ in range(self.steps):
            state = path[-1]
            if how == "simultaneous":
                state = state + self.rate * game.field(state)
            else:
                for player in range(2):
                    state = state + self.rate * game.move(state, player)
            path.append(game.bounded(state))
        return torch.stack(path)


class Dynamics:
    """The vector field of gradient descent on (theta, psi).

    Args:
        loss: the loss of both players.
        samples: points per batch, if the loss draws noise.
        consensus: weight of |v|^2 / 2 in both players' losses (Mescheder et al. 2017, The Numerics of GANs).
    """

    def __init__(self, loss: AdversarialLoss, samples: int, consensus: float = 0.0) -> None:
        self.model, self.consensus = Dirac(), consensus
        critic, generator = loss.phases(self.model)
        self.phases, self.project = (generator, critic), critic.after
        real = torch.zeros(samples if loss.stabilizers else 1, 1, dtype=torch.float64)
        self.batch = Batch(real, progress=torch.zeros(()))

    def bounded(self, state: Tensor) -> Tensor:
        """Return the state after the discriminator's projection, if its loss has one."""
        self.model.place(state)
        if self.project is not None:
            with torch.no_grad():
                self.project(self.model)
        return self.model.state()

    def move(self, state: Tensor, player: int) -> Tensor:
        """Return the field if only one player (0: theta, 1: psi) moves, (2,)."""
        if self.consensus:
            return self.field(state) * torch.eye(2, dtype=torch.float64)[player]
        return torch.stack([self._slope(state, i) if i == player else state.new_zeros(()) for i in range(2)])

    def field(self, state: Tensor) -> Tensor:
        """Return the field of both players, (2,)."""
        v = self._slopes(state)
        if not self.consensus:
            return v
        # grad |v|^2 / 2 = J^T v; J by central differences, as a discriminator's loss has no graph to theta.
        nudges = 1e-5 * torch.eye(2, dtype=torch.float64)
        jacobian = torch.stack([(self._slopes(state + e) - self._slopes(state - e)) / 2e-5 for e in nudges], dim=1)
        return v - self.consensus * jacobian.T @ v

    def _slopes(self, state: Tensor) -> Tensor:
        return torch.stack([self._slope(state, player) for player in range(2)])

    def _slope(self, state: Tensor, player: int) -> Tensor:
        """Return the negative derivative of a player's loss with respect to its own parameter, ()."""
        self.model.place(state)
        phase = self.phases[player]
        values = [v for term in phase.terms for v in term.fn(self.model, self.batch).values() if v.requires_grad]
        (slope,) = torch.autograd.grad(
            reduce(torch.add, values), list(self.model.get_submodule(phase.networks[0]).parameters())
        )
        return -slope.squeeze()


def _draw(axes: Axes, title: str, paths: dict[str, Tensor], game: Dynamics) -> None:
    line = torch.linspace(-2, 2, 9, dtype=torch.float64)
    spots = torch.cartesian_prod(line, line)
    arrows = torch.stack([game.field(spot) for spot in spots])
    arrows = arrows / arrows.norm(dim=1, keepdim=True).clamp(min=1e-9)
    axes.quiver(*spots.T, *arrows.T, color="0.75", angles="xy", scale=18, width=0.005)
    for how, path in paths.items():
        axes.plot(*path.T, lw=1.2, label=how)
    axes.plot(1, 1, "o", color="black", ms=6, label="start")
    axes.plot(0, 0, "*", color=figures.COLOURS[4], ms=13, mec="black", mew=0.6, label="equilibrium", zorder=5)
    ends = " / ".join(f"{path[-1].norm():.2g}" for path in paths.values())
    axes.annotate(f"final radius {ends}", (0.02, 0.02), xycoords="axes fraction", fontsize=8)
    axes.set(title=title, xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal")
