"""Latents of given pictures by optimisation: Karras et al. 2020, Analyzing and Improving the Image Quality of StyleGAN,
section 5 and appendix D, as NVIDIA's projector computes it.

Style-based models are inverted in W. A style starts at the mean style (of the class), and Adam minimises a distance of
its image from the picture. Noise on the style, falling to zero after three quarters of the steps, keeps the search
going; the learning rate rises over the first 5 % of the steps and falls over the last 25 %. The noise maps of the
layers are optimised with it, so that details which are no matter of style need not be in it, while a regulariser keeps
them noise. In W+ each layer has a style of its own.

Other models are inverted in z, without noise, from several draws of the prior, of which the best is kept. Latents stay
within the range of the prior's draws.

Deviations: the distance is that of ``likeness.py`` where the paper has LPIPS; noise maps start as the constant ones of
the model; several pictures, and several starts of each, are optimised at once.

    gancli project ckpt=latest images=faces/
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn.functional import avg_pool2d

from gancli.errors import UsageError
from gancli.models.base import Adversarial, Model
from gancli.models.likeness import Likeness
from gancli.models.style import StyleBased

SPACES = ("z", "w", "w+")
RESTARTS = {"z": 8, "w": 1, "w+": 1}  # starts of each picture unless a number is given
RISE, FALL = 0.05, 0.25  # shares of the steps in which the learning rate rises and falls
JITTER, QUIET = 0.05, 0.75  # first deviation of the noise on a style, in spreads of styles; share after which it is 0
NOISE_WEIGHT = 1e5  # of the regulariser of noise maps
SMALLEST = 8  # pixels of a side of a noise map down to which the regulariser looks
BOUND_OF = 1000  # draws of the prior whose range latents do not leave

Watch = Callable[[str, int, int], None]  # what, done, total


class Inverted(NamedTuple):
    """Pictures as a model draws them."""

    latent: Tensor  # z (N, ...), w (N, 1, d) or w+ (N, styles, d)
    image: Tensor  # (N, C, H, W) in [-1, 1], of the latents alone: noise maps are the model's own
    distance: Tensor  # (N,), of that image
    curve: Tensor  # (steps, N), the distance while it was minimised, before each step
    after: dict[int, Tensor]  # number of steps -> the image then, as ``image``


class Settings(NamedTuple):
    """How pictures are inverted."""

    space: str  # one of SPACES
    steps: int = 1000
    lr: float = 0.1
    restarts: int = 1
    seed: int = 0


def searchable(model: Model) -> Adversarial:
    """Return a model that has latents of images to search. Raises UsageError."""
    if not isinstance(model, Adversarial) or model.spec.points:
        what = f"{type(model).__name__}{' of points' if model.spec.points else ''}"
        raise UsageError(f"{what} has no latents of images to search; use a GAN of images, such as dcgan or stylegan2")
    return model


def space_of(model: Adversarial, asked: str | None) -> str:
    """Return the space to search: w of a style-based model, z of others, or the one that is asked for.

    Raises:
        UsageError: there is no such space, or the model has no styles.
    """
    if asked not in (None, *SPACES):
        raise UsageError(f"space={asked}: allowed are {', '.join(SPACES)}")
    if asked is None:
        return "w" if isinstance(model, StyleBased) else "z"
    if asked != "z" and not isinstance(model, StyleBased):
        raise UsageError(f"space={asked}: {type(model).__name__} has no styles; use space=z")
    return asked


def invert(
    model: Adversarial,
    target: Tensor,
    label: Tensor | None,
    settings: Settings,
    *,
    batch_size: int = 64,
    milestones: Sequence[int] = (),
    watch: Watch = lambda what, done, total: None,
) -> Inverted:
    """Find latents whose images are close to pictures; the model is not changed.

    Every picture meets the same random numbers, so that the result does not depend on the others beside it.

    Args:
        model: in eval mode.
        target: pictures, (N, C, H, W) in [-1, 1] on the model's device.
        label: their classes, (N,), for a conditional model.
        settings: space, steps, learning rate, starts of each picture, and the seed.
        batch_size: pictures times starts that are optimised at a time, at least the starts of one.
        milestones: numbers of steps after which images are kept.
        watch: is told of the steps done.

    Raises:
        UsageError: the space does not suit the model, or a result is not finite.
    """
    space_of(model, settings.space)
    likeness, size = Likeness(model), max(1, batch_size // settings.restarts)
    starts = range(0, len(target), size)
    parts = []
    for i, start in enumerate(starts):
        rows = slice(start, start + size)

        def told(done: int, before: int = i * settings.steps) -> None:
            watch("steps", before + done, len(starts) * settings.steps)

        labels = None if label is None else label[rows]
        parts.append(_Search(model, likeness, target[rows], labels, settings).run(set(milestones), told))
    found = Inverted(
        torch.cat([each.latent for each in parts]),
        torch.cat([each.image for each in parts]),
        torch.cat([each.distance for each in parts]),
        torch.cat([each.curve for each in parts], 1),
        {step: torch.cat([each.after[step] for each in parts]) for step in parts[0].after},
    )
    if not found.distance.isfinite().all():
        raise UsageError(f"lr={settings.lr}: a projection is not finite; use a smaller lr, or an earlier checkpoint")
    return found


class _Search:
    """The optimisation of a batch; the starts of each picture are neighbouring rows."""

    def __init__(
        self, model: Adversarial, likeness: Likeness, target: Tensor, label: Tensor | None, settings: Settings
    ) -> None:
        self.model, self.likeness, self.settings, self.n = model, likeness, settings, len(target)
        self.label = None if label is None else label.repeat_interleave(settings.restarts)
        self.generator = Generator(model.device).manual_seed(settings.seed)
        with torch.no_grad():
            self.seen = likeness.look(target.repeat_interleave(settings.restarts, 0), self.label)
            self.spread = torch.zeros(len(target) * settings.restarts, device=model.device)
            self.noise: dict[str, Tensor] = {}
            self.bounds: tuple[Tensor, Tensor] | None = None
            self.latent = self._styles() if settings.space != "z" else self._draws()
        for each in (self.latent, *self.noise.values()):
            each.requires_grad_(True)

    def _draws(self) -> Tensor:
        """Return draws of the prior, the same for every picture."""
        many = self.model.latent(BOUND_OF, Generator(self.model.device).manual_seed(0))
        self.bounds = many.amin(), many.amax()
        return self._for_all(self.model.latent(self.settings.restarts, self.generator))

    def _styles(self) -> Tensor:
        """Return mean styles, and note the spread of styles and the noise maps."""
        assert isinstance(self.model, StyleBased)
        mean, spread = self.model.style_moments()
        rows = torch.zeros(len(self.spread), dtype=torch.int64, device=mean.device)
        rows = rows if self.label is None else self.label
        self.spread = spread[rows]
        maps = self.model.noise_maps().items()
        self.noise = {name: each.expand(len(rows), 1, -1, -1).clone() for name, each in maps}
        return mean[rows][:, None].repeat(1, self.model.styles if self.settings.space == "w+" else 1, 1)

    def _for_all(self, draws: Tensor) -> Tensor:
        """Repeat draws for the starts of one picture, (restarts, ...), for every picture."""
        return draws.repeat(self.n, *[1] * (draws.dim() - 1))

    def image(self, latent: Tensor, noise: dict[str, Tensor] | None = None) -> Tensor:
        """Return the images of latents, with the model's noise maps or others."""
        if self.settings.space == "z":
            return self.model.generate(latent, self.label)
        assert isinstance(self.model, StyleBased)
        return self.model.synthesise(latent.expand(-1, self.model.styles, -1), noise)

    def run(self, milestones: set[int], told: Callable[[int], None]) -> Inverted:
        steps, restarts = self.settings.steps, self.settings.restarts
        optimizer = torch.optim.Adam([self.latent, *self.noise.values()], betas=(0.9, 0.999))
        curve, after = [], {}
        for step in range(steps):
            curve.append(self._step(optimizer, step))
            told(step + 1)
            if step + 1 in milestones:
                after[step + 1] = self._now()
        image = self._now()
        with torch.no_grad():
            distance = self.likeness.distance(image, self.seen, self.label).view(self.n, restarts)
        best = distance.nan_to_num(math.inf).argmin(1) + restarts * torch.arange(self.n, device=image.device)
        return Inverted(
            self.latent.detach()[best],
            image[best],
            distance.flatten()[best],
            torch.stack(curve)[:, best],
            {each: found[best] for each, found in after.items()},
        )

    @torch.no_grad()
    def _now(self) -> Tensor:
        return self.image(self.latent).clamp(-1, 1)

    def _step(self, optimizer: torch.optim.Optimizer, step: int) -> Tensor:
        """Make one step and return the distances before it, (rows,)."""
        share = step / self.settings.steps
        optimizer.param_groups[0]["lr"] = self.settings.lr * ramp(share)
        latent = self.latent
        if self.noise:
            scale = self.spread * JITTER * max(0.0, 1 - share / QUIET) ** 2
            draws = torch.randn(
                self.settings.restarts, *latent.shape[1:], generator=self.generator, device=latent.device
            )
            latent = latent + self._for_all(draws) * scale[:, None, None]
        distance = self.likeness.distance(self.image(latent, self.noise), self.seen, self.label)
        loss = distance.sum() + NOISE_WEIGHT * sum(correlation(each).sum() for each in self.noise.values())
        free = [self.latent, *self.noise.values()]
        for each, gradient in zip(free, torch.autograd.grad(loss, free)):
            each.grad = gradient
        optimizer.step()
        with torch.no_grad():
            if self.bounds is not None:
                self.latent.clamp_(*self.bounds)
            for each in self.noise.values():
                each.sub_(each.mean((2, 3), keepdim=True))
                each.mul_(each.square().mean((2, 3), keepdim=True).rsqrt())
        return distance.detach()


def ramp(share: float) -> float:
    """Return the factor of the learning rate after a share of the steps: it rises linearly and falls by a cosine."""
    falling = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - share) / FALL))
    return falling * min(1.0, share / RISE)


def correlation(noise: Tensor) -> Tensor:
    """Return the squared mean products of neighbouring pixels, summed over scales and both directions (appendix D).

    (N, 1, H, W) -> (N,), which is 0 in expectation over white noise of infinitely many pixels. The map is halved by 2x2
    means until a side has SMALLEST pixels or fewer, as in NVIDIA's code.
    """
    found = noise.new_zeros(len(noise))
    while True:
        for dim in (2, 3):
            found = found + (noise * noise.roll(1, dim)).mean((1, 2, 3)).square()
        if min(noise.shape[2:]) <= SMALLEST:
            return found
        noise = avg_pool2d(noise, 2)
