"""The model families: what every model can do, and what the losses of a family may ask of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError, did_you_mean
from gancli.nn.likelihoods import Likelihood
from gancli.nn.masked import cached, raster, wavefront


class Model(nn.Module, ABC):
    """A generative model of images, built from the data's spec.

    Images are (N, C, H, W) float32 in [-1, 1] wherever they cross this interface, labels (N,) int64.

    Raises:
        UsageError: a conditional model and data without classes.
    """

    sampled: ClassVar[tuple[str, ...]]  # the children that sample() uses: what the moving average averages
    conditional: bool = False  # its images depend on a label

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
        """Data-dependent initialisation, called once before the first step with (N, C, H, W) uint8 training images."""


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


class Classifying(Adversarial):
    """An adversarial model whose discriminator also names the class of an image: trained by ``losses/acgan.py``."""

    @abstractmethod
    def judge(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return how real each image looks, (N,) logits, and what of, (N, classes) logits."""

    def score(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        return self.judge(image)[0]


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

    density: bool = False  # log_prob is that of a density on [0, 1]^D, not of a probability

    @abstractmethod
    def log_prob(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Return the exact log-likelihood of each image, (N,) nats."""


class Autoregressive(Explicit):
    """A network ``net`` that gives every pixel's distribution from the pixels before it, row by row.

    Sampling is a function of uniform noise: every sampler turns the same noise into the same images.

    - ``naive`` evaluates the whole network for each pixel (and colour),
    - ``cache`` evaluates it at that pixel only, each layer remembering its inputs,
    - ``wavefront`` does so at all pixels at once that do not depend on each other.

    Args:
        spec: shape and levels of the images.
        likelihood: makes the likelihood of ``levels=``.
        sampler: one of the three.

    Raises:
        UsageError: no such sampler; what the likelihood refuses.
    """

    sampled = ("net",)
    SAMPLERS: ClassVar = {"naive": raster, "cache": raster, "wavefront": wavefront}
    net: nn.Module

    def __init__(self, spec: ImageSpec, likelihood: Callable[..., Likelihood], sampler: str = "wavefront") -> None:
        super().__init__(spec)
        if sampler not in self.SAMPLERS:
            known = ", ".join(self.SAMPLERS)
            raise UsageError(f"model.sampler={sampler}: allowed are {known}{did_you_mean(sampler, self.SAMPLERS)}")
        self.likelihood, self.sampler = likelihood(levels=spec.levels), sampler

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Map images on the grid to the parameters of each pixel, (N, likelihood.channels(C), H, W)."""
        return self.net(image)

    def log_prob(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        image = self.likelihood.snap(image)
        return -self.likelihood.nll(self(image, label), image)

    def noise(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw what sample() uses up: (n, likelihood.noise_channels(C), H, W) uniform on [0, 1)."""
        channels = self.likelihood.noise_channels(self.spec.channels)
        return torch.rand(n, channels, self.spec.height, self.spec.width, device=self.device, generator=generator)

    def sample(
        self, n: int, *, label: Tensor | None = None, source: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        label = self.labels(n, generator) if label is None else label
        return self.paint(self.noise(n, generator), label)

    @torch.no_grad()
    def paint(self, noise: Tensor, label: Tensor | None = None, sampler: str | None = None) -> Tensor:
        """Turn noise() into images, (N, C, H, W) in [-1, 1]; ``sampler`` None is the model's own."""
        sampler, (c, h, w) = sampler or self.sampler, self.spec.shape
        image = noise.new_zeros(len(noise), c, h, w)
        pixels = self._whole if sampler == "naive" else self._cached
        with pixels(image, label) as params:
            for front in self.SAMPLERS[sampler](self.net, h, w):
                rows, columns = torch.tensor(front, device=noise.device)
                for _ in range(self.likelihood.groups(c)):
                    # Colours still to come are overwritten when it is their turn; until then nothing reads them.
                    drawn = self.likelihood.sample(params(rows, columns), noise[:, :, rows, columns])
                    image[:, :, rows, columns] = drawn
        return image

    @contextmanager
    def _whole(self, image: Tensor, label: Tensor | None) -> Iterator[Callable[[Tensor, Tensor], Tensor]]:
        """Give a function from pixels to parameters, (N, channels, P), by way of the whole network."""
        yield lambda rows, columns: self(image, label)[:, :, rows, columns]

    @contextmanager
    def _cached(self, image: Tensor, label: Tensor | None) -> Iterator[Callable[[Tensor, Tensor], Tensor]]:
        """Give the same function by way of cached inputs; it must be asked in the order of the dependencies."""
        n, seen = len(image), None
        with cached(self, n, *image.shape[2:]) as caches:

            def params(rows: Tensor, columns: Tensor) -> Tensor:
                nonlocal seen
                if seen is not None and seen[0] is not rows:  # the pixels before these are final now
                    caches.store(_flat(image[:, :, seen[0], seen[1]]))
                if seen is None or seen[0] is not rows:
                    caches.at(rows, columns)
                    seen = rows, columns
                labels = None if label is None else label.repeat(len(rows))
                found = self(_flat(image[:, :, rows, columns]), labels)  # (P * N, channels, 1, 1)
                return found.view(len(rows), n, -1).permute(1, 2, 0)

            yield params


def _flat(pixels: Tensor) -> Tensor:
    """(N, C, P) -> (P * N, C, 1, 1), as cached layers take it."""
    return pixels.permute(2, 0, 1).flatten(0, 1)[:, :, None, None]
