"""Vanishing gradients: Arjovsky & Bottou 2017, Towards Principled Methods for Training GANs, figures 2 and 3.

A GAN is trained for a while, and its generator is frozen. A discriminator and a critic are then trained from scratch
against it. The better the discriminator, the smaller the generator's gradient from log(1 - D); the gradient of -log D
does not vanish, and the critic's settles.

Deviations: the networks are WGAN-GP's, since a gradient penalty does not work with batch norm; the data are scanned
digits.

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
    """The norm of the generator's gradient over the updates of a new discriminator and of a new critic.

    Args:
        players: config nodes of a ``discriminator`` and a ``critic``.
        freezes: numbers of images after which the GAN's generator is frozen; training ends at the last one.
        updates: updates of the new players.
        looks: number of times that the gradient is computed.
        latents: number of latents at which it is computed.

    Raises:
        ValueError: there are no freezes, or a number is below 1.
    """

    def __init__(
        self, players: dict[str, Any], freezes: list[int], updates: int = 1000, looks: int = 40, latents: int = 256
    ) -> None:
        if not freezes or min(*freezes, updates, looks, latents) < 1:
            raise ValueError("name at least one of freezes; each of them, updates, looks and latents must be 1 or more")
        self.players, self.freezes, self.updates = players, sorted(freezes), updates
        self.looks, self.latents = looks, latents

    def draw(self, context: LectureContext) -> tuple[Figure, dict[str, Any]]:
        curves: dict[int, dict[str, Curve]] = {}
        for images, weights in self._frozen(context):
            curves[images] = {name: self._learn(context, name, weights, images) for name in self.players}
        figure, axes = figures.panels(1, 4, size=(4.0, 3.9))
        panels = (
            ("discriminator", "saturating", "discriminator, log(1 - D)", True),
            ("discriminator", "nonsaturating", "discriminator, -log D", True),
            ("critic", "critic", "critic with gradient penalty", True),
            ("discriminator", "accuracy", "accuracy of the discriminator", False),
        )
        for each, (player, key, title, gradient) in zip(axes[0], panels):
            for images, found in curves.items():
                updates, values = zip(*((n, row[key]) for n, row in found[player]))
                each.plot(updates, values, lw=1.8, label=f"{images:,} images")
            figures.label(each, title, "updates from scratch", "norm of the generator's gradient", legend=False)
            each.set(xscale="log")
            each.set(yscale="log") if gradient else each.set(ylabel="accuracy")
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
        """Train a player from scratch, and return the generator's gradient norms over its updates."""
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
    """Return the gradient norm over all weights of the generator for each loss that suits the player."""
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
    """Return the updates and values of each curve, and its first and last value."""
    numbers: dict[str, Any] = {}
    for curve in found.values():
        for key in curve[0][1]:
            values = [row[key] for _, row in curve]
            numbers[key] = {"first": values[0], "last": values[-1], "updates": [n for n, _ in curve], "values": values}
    return numbers
