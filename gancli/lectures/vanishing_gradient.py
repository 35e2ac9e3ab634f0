"""Gradients that vanish: Arjovsky & Bottou 2017, Towards Principled Methods for Training GANs, figures 2 and 3.

A GAN is trained for a while and its generator frozen; then a discriminator, and a critic, learn from scratch against
it. The better the discriminator, the smaller the gradient that the generator gets from log(1 - D); that of -log D does
not vanish, and the critic's settles.

Deviations: the networks of WGAN-GP, since a gradient penalty and batch norm do not go together, on scanned digits.

    gancli train experiment=lecture/vanishing_gradient
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gancli.lectures.base import Lecture, LectureContext
from gancli.lectures.players import adversarial_loss, adversarial_model, critic_alone, play
from gancli.losses.adversarial import AdversarialLoss, Minimax, NonSaturating, Wasserstein
from gancli.models.base import Adversarial
from gancli.training.run import Run
from gancli.views import figures

Curve = list[tuple[int, dict[str, float]]]  # (updates, values)


class VanishingGradient(Lecture):
    """The norm of the generator's gradient over the updates of a new discriminator, and of a new critic.

    Args:
        players: a ``discriminator`` and a ``critic``, each by its nodes of the config.
        freezes: images that the GAN has seen when its generator is frozen; the last is where its training ends.
        updates: of the new players.
        looks: how often the gradient is taken.
        latents: that it is taken at.

    Raises:
        ValueError: no freezes, updates, looks or latents.
    """

    def __init__(
        self, players: dict[str, Any], freezes: list[int], updates: int = 1000, looks: int = 40, latents: int = 256
    ) -> None:
        if not freezes or min(*freezes, updates, looks, latents) < 1:
            raise ValueError("freezes needs a number, and all of them, updates, looks and latents must be 1 or more")
        self.players, self.freezes, self.updates = players, sorted(freezes), updates
        self.looks, self.latents = looks, latents

    def draw(self, context: LectureContext) -> tuple[Figure, dict[str, Any]]:
        curves: dict[int, dict[str, Curve]] = {}
        for images, weights in self._frozen(context):
            curves[images] = {name: self._learn(context, name, weights, images) for name in self.players}
        figure, axes = figures.panels(1, 4, size=(4.0, 3.9))
        panels = (
            ("discriminator", "saturating", "from a discriminator: log(1 - D)", True),
            ("discriminator", "nonsaturating", "from a discriminator: -log D", True),
            ("critic", "critic", "from a critic with gradient penalty", True),
            ("discriminator", "accuracy", "the discriminator's accuracy", False),
        )
        for each, (player, key, title, gradient) in zip(axes[0], panels):
            for images, found in curves.items():
                updates, values = zip(*((n, row[key]) for n, row in found[player]))
                each.plot(updates, values, lw=1.8, label=f"{images:,} images")
            figures.label(each, title, "updates from scratch", "norm of the generator's gradient", legend=False)
            each.set(xscale="log")
            each.set(yscale="log") if gradient else each.set(ylabel="share of right answers")
        self._same_scale(list(axes[0, :3]))
        axes[0, 3].legend(title="frozen after", loc="lower right")
        figures.source(figure, "Arjovsky & Bottou 2017, figures 2 and 3")
        return figure, {str(images): _numbers(found) for images, found in curves.items()}

    def _frozen(self, context: LectureContext) -> Iterator[tuple[int, dict[str, torch.Tensor]]]:
        """Train a GAN and yield the generator's weights at each freeze."""
        run = context.build(images=self.freezes[-1])
        generator, due = adversarial_model(run).generator, list(self.freezes)
        for images in play(run):
            context.show("GAN", images, run.total)
            while due and images >= due[0]:
                yield due.pop(0), {k: v.clone() for k, v in generator.state_dict().items()}

    def _learn(self, context: LectureContext, name: str, weights: dict[str, torch.Tensor], images: int) -> Curve:
        """Train a player from scratch; return the generator's gradient norms over its updates."""
        run = context.build(**self.players[name], images=self.updates * context.cfg.batch_size)
        adversarial_model(run).generator.load_state_dict(weights)
        due = set(torch.logspace(0, math.log10(self.updates), self.looks).round().int().tolist()) | {self.updates}
        curve = []
        for updates, scalars in enumerate(critic_alone(run), 1):
            context.show(f"{name} against {images:,} images", updates, self.updates)
            if updates in due:
                curve.append((updates, gradients(run, self.latents)))
                if name == "discriminator":
                    curve[-1][1]["accuracy"] = scalars["discriminator/accuracy"].item()
        return curve

    @staticmethod
    def _same_scale(row: list[Axes]) -> None:
        low, high = min(a.get_ylim()[0] for a in row), max(a.get_ylim()[1] for a in row)
        for axes in row:
            axes.set_ylim(low, high)


def gradients(run: Run, latents: int) -> dict[str, float]:
    """Return the norm of the gradient in all of the generator's weights, for each loss that goes with the player."""
    model, loss = adversarial_model(run), adversarial_loss(run)
    z = model.latent(latents, torch.Generator(model.device).manual_seed(0))
    losses: dict[str, AdversarialLoss] = {"saturating": Minimax(), "nonsaturating": NonSaturating()}
    if isinstance(loss, Wasserstein):
        losses = {"critic": loss}
    return {name: gradient_norm(model, each, z) for name, each in losses.items()}


def gradient_norm(model: Adversarial, loss: AdversarialLoss, z: torch.Tensor) -> float:
    """Return the norm of the gradient of the generator's loss at these latents with respect to its weights."""
    weights = [p.requires_grad_() for p in model.generator.parameters()]
    paid = loss.on_generated(model.score(model.generate(z))).mean()
    return torch.nn.utils.get_total_norm(torch.autograd.grad(paid, weights)).item()


def _numbers(found: dict[str, Curve]) -> dict[str, Any]:
    """Return, for each curve, its updates and values, and how far it fell: the first over the last."""
    numbers: dict[str, Any] = {}
    for curve in found.values():
        for key in curve[0][1]:
            values = [row[key] for _, row in curve]
            numbers[key] = {"first": values[0], "last": values[-1], "updates": [n for n, _ in curve], "values": values}
    return numbers
