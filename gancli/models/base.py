"""The interface common to all models, and the adversarial family; other families have their own files."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Hashable
from itertools import chain
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from gancli.data.spec import Batch, ImageSpec
from gancli.errors import UsageError
from gancli.models.held_out import HeldOut
from gancli.nn.recorded import Graph
from gancli.nn.truncated import truncated_normal
from gancli.ranges import Above


class Model(nn.Module, ABC):
    """A generative model of images, built from the data's spec.

    Images are (N, C, H, W) float32 in [-1, 1] wherever they cross this interface, labels (N,) int64; points are
    (N, D, 1, 1) float32 without bounds.

    Raises:
        UsageError: the model is conditional and the data has no classes.
    """

    sampled: ClassVar[tuple[str, ...]]  # the children that sample() uses; the moving average covers these
    notes: tuple[str, ...] = ()  # remarks for the log
    conditional: bool = False  # whether images depend on a label
    translates: ClassVar[bool] = False  # whether the model learns from data of two domains
    points: ClassVar[bool] = False  # whether the model can also generate points
    bf16_pays: ClassVar[bool] = False  # whether it trains faster in bfloat16, by a tenth at least (measured on a CPU)
    channels_last_pays: ClassVar[bool] = False  # whether it trains faster so, by a tenth at least (measured on a CPU)
    nondeterministic: ClassVar[str | None] = None  # its operation that has no deterministic kernel on a GPU
    graphs: type[Graph] | None = None  # records the steps of sample() where it has many, see Runtime.place()
    resets: ClassVar[bool] = False  # whether the optimizers are reset when a stage() begins
    truncation: float | None = None  # of sample(), where set_sampling() takes it; None: as trained
    truncations: ClassVar[tuple[float, ...]] = (1.0, 0.85, 0.7, 0.5, 0.3, 0.15)  # those that view=truncation shows
    batch_norm: str = "eval"  # the statistics of sample(), for score cards: eval (of training), or standing
    views: ClassVar[tuple[str, ...]] = ("grid",)  # options of conf/view that training writes, most informative first

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__()
        if spec.source_channels and not self.translates:
            raise UsageError(
                f"this data has two domains to translate between, but {type(self).__name__} learns images of one: "
                f"choose model={'pix2pix' if spec.paired else 'cyclegan'}, or a single data set"
            )
        if self.conditional and spec.num_classes < 2:
            raise UsageError(
                f"{type(self).__name__} is class-conditional, but this data has no classes: choose labelled data, "
                "such as data=mnist, or an unconditional model, such as model=dcgan"
            )
        self.spec = spec

    @property
    def device(self) -> torch.device:
        """The device of the parameters and buffers; a ``generator`` passed to sample() must be on it too."""
        return next(chain(self.parameters(), self.buffers())).device

    @abstractmethod
    def sample(
        self, n: int, *, label: Tensor | None = None, source: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Sample n images, (n, C, H, W) float32 in [-1, 1]; the same generator state gives the same images.

        A conditional model samples from the classes in ``label``, or from uniform labels() if it is None.
        """

    def skip(self, n: int, *, label: Tensor | None = None, generator: Generator) -> None:
        """Leave a generator as sample() with these arguments leaves it, without images if that is possible.

        Processes that draw together pass over the batches of the others by it; here, sample() is called.
        """
        self.sample(n, label=label, generator=generator)

    @property
    def pixel_values(self) -> str | None:
        """What the pixels of sample() are if they are not drawn, such as ``means``, for logs and score cards."""
        return None

    def own_views(self) -> tuple[str, ...]:
        """Return the options of conf/view that training writes: ``views``, or ``points`` for a model of points."""
        return ("points",) if self.spec.points else self.views

    def set_sampling(self) -> None:
        """Set the sampling options that sample() uses from now on.

        Families with options override this; the keyword arguments are the keys of ``sampling`` in ``gancli sample``.
        An option that trades variety for quality by moving latents towards their mean is called ``truncation``.
        """

    @classmethod
    def truncates(cls) -> bool:
        """Tell whether ``truncation`` is one of the options of set_sampling()."""
        return "truncation" in inspect.signature(cls.set_sampling).parameters

    def labels(self, n: int, generator: Generator | None = None) -> Tensor | None:
        """Sample n labels uniformly, (n,) int64; None for unconditional models."""
        if not self.conditional:
            return None
        return torch.randint(self.spec.num_classes, (n,), device=self.device, generator=generator)

    def stage(self, share: float) -> Hashable:
        """Return the stage after a fraction of the run, in [0, 1]; models that grow during training override this."""
        return None

    def enter(self, stage: Hashable) -> None:
        """Prepare for a stage(): called when it begins, and when a checkpoint saved in it is loaded."""

    def advance(self, share: float) -> None:
        """Set what changes within a stage, such as the weight of a fade, for a fraction of the run, in [0, 1].

        Called after enter() and after every turn, for the model and its moving average. It comes from the host's clock,
        and writing it into a buffer (``fill_``) waits for nothing; buffers that it sets are not persistent, since they
        are set again when a checkpoint is loaded, and are listed in ``copied``, since they are not averaged.
        """

    def present(self, batch: Batch) -> Batch:
        """Return a batch of training images as the discriminator sees them in this stage; by default, unchanged."""
        return batch

    def held_out(self) -> HeldOut | None:
        """Return the likelihood of held-out images for ``metrics=[nll]``; None for models without one."""
        return None

    def fit_data(self, pixels: Tensor) -> None:
        """Initialise from the training data, once, before the first step: (N, C, H, W) uint8, or float32 points."""


class Adversarial(Model):
    """A generator and a discriminator (or critic), trained by the losses in ``losses/adversarial.py``."""

    sampled = ("generator",)
    generator: nn.Module
    discriminator: nn.Module

    @abstractmethod
    def latent(self, n: int, generator: Generator | None = None) -> Tensor:
        """Sample n latents from the prior, (n, ...) float32 on the model's device."""

    def generate(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Map latents, and labels if the model is conditional, to images, (N, C, H, W) in [-1, 1]."""
        return self.generator(z, label) if self.conditional else self.generator(z)

    def score(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Return the discriminator's logits, (N,), without a sigmoid, for numerically stable losses."""
        return self.discriminator(image)

    def target_labels(self, label: Tensor | None) -> Tensor | None:
        """Return the labels of the images to generate: by default, the labels of the training batch, (N,)."""
        return label

    def interpolate(self, start: Tensor, end: Tensor, t: Tensor) -> Tensor:
        """Interpolate linearly between two latents, t in [0, 1], which suits a uniform prior."""
        return straight(start, end, t)

    def sample(
        self, n: int, *, label: Tensor | None = None, source: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        label = self.labels(n, generator) if label is None else label
        return self.generate(self.latent(n, generator), label)

    def skip(self, n: int, *, label: Tensor | None = None, generator: Generator) -> None:
        if label is None:
            self.labels(n, generator)
        self.latent(n, generator)


def straight(start: Tensor, end: Tensor, t: Tensor) -> Tensor:
    """Return the points at t, in [0, 1] along the line between two, in the precision of t.

    What a network has mapped to under autocast is bfloat16, which is too coarse for the places between.
    """
    return torch.lerp(start.to(t.dtype), end.to(t.dtype), t)


def between_normals(start: Tensor, end: Tensor, t: Tensor) -> Tensor:
    """Return points between two standard normal latents, with their variance; on a line, it would fall to one half."""
    return straight(start, end, t) / ((1 - t) ** 2 + t**2).sqrt()


class NormalPrior(Adversarial):
    """An adversarial model with standard normal latents.

    Args:
        spec: shape of the images.
        latent_dim: number of latents.
    """

    truncations: ClassVar[tuple[float, ...]] = (4.0, 2.0, 1.0, 0.7, 0.5, 0.3, 0.1)

    def __init__(self, spec: ImageSpec, latent_dim: int) -> None:
        super().__init__(spec)
        self.latent_dim = latent_dim

    def set_sampling(self, truncation: Above | None = None) -> None:
        """Set the options of sample().

        Args:
            truncation: the threshold t that no latent exceeds in absolute value (Brock et al. 2019, section 3.1); the
                smaller, the better and the more alike are the images. None: the whole prior, as in training.
        """
        self.truncation = truncation

    def latent(self, n: int, generator: Generator | None = None) -> Tensor:
        """Standard normal, restricted to |z| < ``truncation`` if that is set. (n, latent_dim)."""
        if self.truncation is None:
            return torch.randn(n, self.latent_dim, device=self.device, generator=generator)
        return truncated_normal(n, self.latent_dim, threshold=self.truncation, device=self.device, generator=generator)

    def interpolate(self, start: Tensor, end: Tensor, t: Tensor) -> Tensor:
        return between_normals(start, end, t)


class UniformClasses(NormalPrior):
    """A conditional model that generates all classes alike in training, regardless of their frequencies in the data."""

    conditional = True

    def target_labels(self, label: Tensor | None) -> Tensor:
        """Sample classes uniformly."""
        assert label is not None  # the model is conditional
        return torch.randint_like(label, self.spec.num_classes)
