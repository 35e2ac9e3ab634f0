"""Parts shared by lectures: normal distributions on a line, fixed generators, and training of a critic alone."""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from gancli.losses.game import AdversarialLoss
from gancli.models.base import Adversarial
from gancli.training.run import Run
from gancli.training.tracker import Tracker
from gancli.training.turn import run_turn


class Line(NamedTuple):
    """A quadrature on the real line: float64 points and their spacing."""

    x: Tensor  # (K,)
    dx: float

    @classmethod
    def over(cls, low: float, high: float, n: int = 20_001) -> "Line":
        x = torch.linspace(low, high, n, dtype=torch.float64)
        return cls(x, (high - low) / (n - 1))

    def integral(self, values: Tensor) -> float:
        """Integrate values that vanish at both ends by the trapezoidal rule, exact to rounding for smooth functions."""
        return values.sum().item() * self.dx

    def normal(self, mean: float, std: float = 1.0) -> Tensor:
        """Return the density of N(mean, std^2) at the points."""
        return log_normal(self.x, mean, std).exp()


def log_normal(x: Tensor, mean: float, std: float = 1.0) -> Tensor:
    """Return the log-density of N(mean, std^2)."""
    return -(((x - mean) / std) ** 2) / 2 - math.log(std * math.sqrt(2 * math.pi))


def divergence(p: Tensor, log_p: Tensor, log_q: Tensor, line: Line) -> float:
    """Return KL(P || Q) = E_P log p/q in nats, from log-densities so that tails do not become 0/0."""
    return line.integral(p * (log_p - log_q))


def jsd(log_p: Tensor, log_q: Tensor, line: Line) -> float:
    """Return the Jensen-Shannon divergence in nats: the mean KL of both to their mixture; from 0 to log 2."""
    log_m = torch.logaddexp(log_p, log_q) - math.log(2)
    return sum(divergence(each.exp(), each, log_m, line) for each in (log_p, log_q)) / 2


class Shifted(nn.Module):
    """A fixed generator that shifts normal latents, (N, D), by ``shift`` to points (N, D, 1, 1)."""

    shift: Tensor

    def __init__(self, *shift: float) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor(shift))

    def forward(self, z: Tensor) -> Tensor:
        return (z + self.shift)[..., None, None]


class Upright(nn.Module):
    """A fixed generator: two normal latents -> points (theta, u), u uniform on [0, 1], (N, 2, 1, 1)."""

    def __init__(self, theta: float) -> None:
        super().__init__()
        self.theta = theta

    def forward(self, z: Tensor) -> Tensor:
        return torch.stack([torch.full_like(z[:, 0], self.theta), torch.special.ndtr(z[:, 1])], 1)[..., None, None]


def adversarial_model(run: Run) -> Adversarial:
    """Return the model of a run, which in these lectures is a generator and a discriminator."""
    assert run.loss.has_players
    return cast(Adversarial, run.model)


def adversarial_loss(run: Run) -> AdversarialLoss:
    """Return the loss of a run, which in these lectures has two players."""
    assert run.loss.has_players
    return cast(AdversarialLoss, run.loss.game)


def critic_alone(run: Run) -> Iterator[dict[str, Tensor]]:
    """Train the discriminator against a fixed generator until all images are seen; yield the scalars of each update."""
    critic = run.steps[0]
    while run.images < run.total:
        critic.prepare(run.images / run.total, run.schedule(run.images, run.total))
        scalars = critic.compute(run.loader.next(run.images / run.total))
        run.images += run.loader.batch_size
        yield scalars


class NullTracker(Tracker):
    """A tracker that records nothing and writes no files."""

    def __init__(self) -> None: ...

    def add(self, scalars: Mapping[str, Tensor]) -> None: ...


def play(run: Run) -> Iterator[int]:
    """Train both players until all images are seen; yield the number of images seen after each turn."""
    while run.images < run.total:
        run_turn(run, NullTracker(), measure=False)
        yield run.images


@torch.no_grad()
def scores(model: Adversarial, x: Tensor) -> Tensor:
    """Return the discriminator's scores of points on a line, (K,) -> (K,) float64."""
    return model.score(x.to(model.device, torch.float32)[:, None, None, None]).double().cpu()


def slope(model: Adversarial, x: Tensor) -> Tensor:
    """Return the derivative of the score at points on a line, (K,) -> (K,) float64."""
    points = x.to(model.device, torch.float32)[:, None, None, None].requires_grad_()
    (gradient,) = torch.autograd.grad(model.score(points).sum(), points)
    return gradient.flatten().double().cpu()
