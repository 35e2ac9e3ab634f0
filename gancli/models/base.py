"""What every model can do, and the family of adversarial ones; other families are in files of their names."""

from abc import ABC, abstractmethod
from collections.abc import Hashable
from itertools import chain
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.held_out import HeldOut


class Model(nn.Module, ABC):
    """A generative model of images, built from the data's spec.

    Images are (N, C, H, W) float32 in [-1, 1] wherever they cross this interface, labels (N,) int64; points are
    (N, D, 1, 1) float32 without bounds.

    Raises:
        UsageError: a conditional model and data without classes.
    """

    sampled: ClassVar[tuple[str, ...]]  # the children that sample() uses: what the moving average averages
    notes: tuple[str, ...] = ()  # what the log should say of it
    conditional: bool = False  # its images depend on a label
    points: ClassVar[bool] = False  # can draw points, too
    resets: ClassVar[bool] = False  # whether a new stage() starts the optimizers anew
    views: ClassVar[tuple[str, ...]] = ("grid",)  # options of conf/view that training writes, the most telling first

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__()
        if self.conditional and spec.num_classes < 2:
            raise UsageError(
                f"{type(self).__name__} draws images of a class, and this data has none: choose labelled data, "
                "such as data=mnist, or an unconditional model, such as model=dcgan"
            )
        self.spec = spec

    @property
    def device(self) -> torch.device:
        """Where the tensors live; a ``generator`` passed to sample() must live there too."""
        return next(chain(self.parameters(), self.buffers())).device

    @abstractmethod
    def sample(
        self, n: int, *, label: Tensor | None = None, source: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Draw n images, (n, C, H, W) float32 in [-1, 1]; the same generator state gives the same images.

        A conditional model draws those of ``label``, or of uniform labels() without one.
        """

    def own_views(self) -> tuple[str, ...]:
        """Return the options of conf/view that training writes: ``views``, or of a model of points their picture."""
        return ("points",) if self.spec.points else self.views

    def set_sampling(self) -> None:
        """Set how sample() draws from now on.

        Families with a choice override this; its keyword arguments are what ``sampling`` of ``gancli sample`` takes.
        """

    def labels(self, n: int, generator: Generator | None = None) -> Tensor | None:
        """Draw uniform labels, (n,) int64; None: the model knows no classes."""
        if not self.conditional:
            return None
        return torch.randint(self.spec.num_classes, (n,), device=self.device, generator=generator)

    def stage(self, share: float) -> Hashable:
        """Return what of the model is in use after a share of the run, in [0, 1]; models that grow override it."""
        return None

    def enter(self, stage: Hashable) -> None:
        """Prepare for a stage(): called when the model is built, when a stage begins, and when a run resumes in it."""

    def held_out(self) -> HeldOut | None:
        """Return the likelihood of held-out images, which ``metrics=[nll]`` asks for; None: the model has none."""
        return None

    def fit_data(self, pixels: Tensor) -> None:
        """Initialise by the training data, once, before the first step: (N, C, H, W) uint8, points float32."""


class Adversarial(Model):
    """A generator and a discriminator (or critic): trained by the losses in ``losses/adversarial.py``."""

    sampled = ("generator",)
    generator: nn.Module
    discriminator: nn.Module

    @abstractmethod
    def latent(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw n latents from the prior, (n, ...) float32 on the model's device."""

    def generate(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Map latents, and labels if the model is conditional, to images, (N, C, H, W) in [-1, 1]."""
        return self.generator(z, label) if self.conditional else self.generator(z)

    def score(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Return the discriminator's logits, (N,): no sigmoid, so that losses can be written in stable form."""
        return self.discriminator(image)

    def target_labels(self, label: Tensor | None) -> Tensor | None:
        """Return the labels that training draws images for, given those of a batch, (N,): the same, from the data."""
        return label

    def interpolate(self, start: Tensor, end: Tensor, t: Tensor) -> Tensor:
        """Walk from one latent to another, t in [0, 1]: straight, as suits a uniform prior."""
        return torch.lerp(start, end, t)

    def sample(
        self, n: int, *, label: Tensor | None = None, source: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        label = self.labels(n, generator) if label is None else label
        return self.generate(self.latent(n, generator), label)


class NormalPrior(Adversarial):
    """An adversarial model with standard normal latents.

    Args:
        spec: shape of the images.
        latent_dim: number of latents.

    Raises:
        ValueError: no latents.
    """

    def __init__(self, spec: ImageSpec, latent_dim: int) -> None:
        super().__init__(spec)
        if latent_dim < 1:
            raise ValueError(f"latent_dim={latent_dim} must be 1 or more")
        self.latent_dim = latent_dim

    def latent(self, n: int, generator: Generator | None = None) -> Tensor:
        """Standard normal. (n, latent_dim)."""
        return torch.randn(n, self.latent_dim, device=self.device, generator=generator)

    def interpolate(self, start: Tensor, end: Tensor, t: Tensor) -> Tensor:
        """Walk so that each point has the variance of the prior, of which a straight line's middle has half."""
        return torch.lerp(start, end, t) / ((1 - t) ** 2 + t**2).sqrt()
