"""The model families: what every model can do, and what the losses of a family may ask of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import chain
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError, did_you_mean
from gancli.models.painting import Given, Kept, Painter, check_recorded, fixed_point
from gancli.nn.likelihoods import Likelihood
from gancli.nn.stepper import Stepper, Whole


class Model(nn.Module, ABC):
    """A generative model of images, built from the data's spec.

    Images are (N, C, H, W) float32 in [-1, 1] wherever they cross this interface, labels (N,) int64; points are
    (N, D, 1, 1) float32 without bounds.

    Raises:
        UsageError: a conditional model and data without classes.
    """

    sampled: ClassVar[tuple[str, ...]]  # the children that sample() uses: what the moving average averages
    remarks: tuple[str, ...] = ()  # what the log should say of it
    conditional: bool = False  # its images depend on a label
    points: ClassVar[bool] = False  # can draw points, too

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

    def labels(self, n: int, generator: Generator | None = None) -> Tensor | None:
        """Draw uniform labels, (n,) int64; None: the model knows no classes."""
        if not self.conditional:
            return None
        return torch.randint(self.spec.num_classes, (n,), device=self.device, generator=generator)

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

    def wanted(self, label: Tensor | None) -> Tensor | None:
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


class Explicit(Model):
    """A model that knows the probability of an image: trained by ``losses/nll.py`` on its ``sampled`` networks."""

    completes: ClassVar[bool] = False  # can draw the missing part of an image
    density: bool = False  # log_prob is that of a density on [0, 1]^D, not of a probability

    @abstractmethod
    def log_prob(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Return the exact log-likelihood of each image, (N,) nats."""

    def training_nats(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Return what training minimises, (N,) nats: -log_prob, or what is cheaper and in the mean not below it."""
        return -self.log_prob(image, label)

    def complete(
        self, image: Tensor, mask: Tensor, *, label: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Draw the missing part of each image, given the rest of it: (N, C, H, W) in [-1, 1] -> the same.

        Args:
            image: what is there is kept bit for bit, but for its being moved to the nearest level.
            mask: (H, W) bool, true where a pixel is missing.
            label, generator: as for sample().

        Raises:
            UsageError: the model cannot complete images.
        """
        raise UsageError(f"{type(self).__name__} cannot complete images; models of pixels in order and kde can")

    def log_prob_of(self, image: Tensor, mask: Tensor, label: Tensor | None = None) -> Tensor:
        """Return the log-probability of the masked pixels given what complete() saw of the others, (N,) nats."""
        raise UsageError(f"{type(self).__name__} cannot complete images")

    def unseen(self, mask: Tensor) -> Tensor:
        """Return which pixels are there but unseen by some missing pixel that is drawn before them, (H, W) bool."""
        return torch.zeros_like(mask)


class Autoregressive(Explicit):
    """A network that gives every pixel's distribution from the pixels before it in some order.

    Sampling is a function of uniform noise: every sampler turns the same noise into the same images.

    - ``naive`` evaluates the whole network for each pixel (and colour),
    - ``cache`` evaluates it at that pixel only, each layer remembering its inputs,
    - ``wavefront`` does so at all pixels at once that do not depend on each other,
    - ``jacobi`` evaluates the whole network at all pixels, again and again until nothing changes.

    ``cache`` and ``wavefront`` follow from ``forward`` by themselves if it consists of Local layers (nn.incremental)
    and of pixelwise operations; other networks give a Stepper of their own. After sampling, one evaluation of the whole
    network checks the parameters that the pixels were drawn from.

    Args:
        spec: shape and levels of the images.
        likelihood: makes the likelihood of ``levels=``.
        sampler: one of them.

    Raises:
        UsageError: no such sampler; what the likelihood refuses.
    """

    sampled = ("net",)
    completes = True
    SAMPLERS: ClassVar[tuple[str, ...]] = ("naive", "cache", "wavefront", "jacobi")
    net: nn.Module

    def __init__(self, spec: ImageSpec, likelihood: Callable[..., Likelihood], sampler: str = "wavefront") -> None:
        super().__init__(spec)
        self.check_sampler(sampler)
        self.likelihood, self.sampler = likelihood(levels=spec.levels), sampler
        self.temperature = 1.0  # of sample() and complete()
        self._kept = Kept()

    @classmethod
    def check_sampler(cls, sampler: str) -> None:
        """Refuse a sampler that there is not.

        Raises:
            UsageError: naming those that there are.
        """
        if sampler not in cls.SAMPLERS:
            known = ", ".join(cls.SAMPLERS)
            raise UsageError(f"model.sampler={sampler}: allowed are {known}{did_you_mean(sampler, cls.SAMPLERS)}")

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Map images on the grid to the parameters of each pixel, (N, likelihood.channels(C), H, W)."""
        return self.net(image)

    def log_prob(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        image = self.likelihood.snap(image)
        return -self.likelihood.nll(self(image, label), image)

    def order(self) -> Tensor:
        """Return the pixels, row * width + column, in the order in which they are sampled: (H * W,) on the CPU."""
        return torch.arange(self.spec.height * self.spec.width)

    def noise(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw what sample() uses up: (n, likelihood.noise_channels(C), H, W) uniform on [0, 1)."""
        channels = self.likelihood.noise_channels(self.spec.channels)
        return torch.rand(n, channels, self.spec.height, self.spec.width, device=self.device, generator=generator)

    def sample(
        self, n: int, *, label: Tensor | None = None, source: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        label = self.labels(n, generator) if label is None else label
        return self.paint(self.noise(n, generator), label)

    def paint(
        self, noise: Tensor, label: Tensor | None = None, sampler: str | None = None, given: Given | None = None
    ) -> Tensor:
        """Turn noise() into images, (N, C, H, W) in [-1, 1]; ``sampler`` None is the model's own.

        Raises:
            UsageError: the sampler and the whole network disagree.
        """
        sampler, noise = sampler or self.sampler, noise.to(next(self.parameters()).dtype)
        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):  # cached and whole shall be equal
            if sampler == "jacobi":
                image = fixed_point(self, self.likelihood, noise, label, given, self.spec.channels, self.temperature)
            else:
                painter = self._painter(sampler, noise, label, given)
                image, recorded = painter(noise, label, given), painter.stepper.recorded()
                if recorded is not None:
                    check_recorded(recorded, self(image, label), sampler)
        return image.clone()  # outside of inference mode: a tensor like any other

    def stepper(self, sampler: str, image: Tensor, label: Tensor | None) -> Stepper:
        """Return how a sampler is to evaluate the network; ``image``, (N, C, H, W) of zeros, is its own."""
        if sampler == "naive":
            return Whole(self, image, self.order())
        return self._kept.stepper(self, self.order(), image, label, together=sampler == "wavefront")

    def _painter(self, sampler: str, noise: Tensor, label: Tensor | None, given: Given | None) -> Painter:
        """Return a painter, the last one if it suits."""

        def make() -> Painter:
            image = noise.new_zeros(len(noise), *self.spec.shape)
            settings = {"temperature": self.temperature, "given": given is not None, "like": image}
            stepper = self.stepper(sampler, image, label)
            return Painter(stepper, self.likelihood, noise.shape, self.spec.channels, **settings)

        key = (sampler, noise.shape, noise.dtype, noise.device, label is None, given is None, self.temperature)
        return self._kept.painter((*key, self.order().numpy().tobytes()), make)

    def complete(
        self, image: Tensor, mask: Tensor, *, label: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        return self.paint(self.noise(len(image), generator), label, given=Given(self.likelihood.snap(image), ~mask))

    def log_prob_of(self, image: Tensor, mask: Tensor, label: Tensor | None = None) -> Tensor:
        image = self.likelihood.snap(image)
        return -self.likelihood.nll(self(image, label)[:, :, mask], image[:, :, mask])

    def unseen(self, mask: Tensor) -> Tensor:
        rank = torch.empty(mask.numel(), dtype=torch.int64)
        rank[self.order()] = torch.arange(mask.numel())
        missing = mask.flatten().cpu()
        first = rank[missing].min() if missing.any() else mask.numel()
        return ((rank > first) & ~missing).view_as(mask).to(mask.device)
