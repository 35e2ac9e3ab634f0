"""The model families: what every model can do, and what the losses of a family may ask of it."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from gancli.data.spec import ImageSpec


class Model(nn.Module, ABC):
    """A generative model of images, built from the data's spec.

    Images are (N, C, H, W) float32 in [-1, 1] wherever they cross this interface.
    """

    sampled: ClassVar[tuple[str, ...]]  # the children that sample() uses: what the moving average averages

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__()
        self.spec = spec

    @property
    def device(self) -> torch.device:
        """Where the parameters live; a ``generator`` passed to sample() must live there too."""
        return next(self.parameters()).device

    @abstractmethod
    def sample(
        self, n: int, *, label: Tensor | None = None, source: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Draw n images, (n, C, H, W) float32 in [-1, 1]; the same generator state gives the same images."""

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
        """Map latents to images, (N, C, H, W) in [-1, 1]."""
        return self.generator(z)

    def score(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Return the discriminator's logits, (N,): no sigmoid, so that losses can be written in stable form."""
        return self.discriminator(image)

    def interpolate(self, start: Tensor, end: Tensor, t: Tensor) -> Tensor:
        """Walk from one latent to another, t in [0, 1]: straight, as suits a uniform prior."""
        return torch.lerp(start, end, t)

    def sample(
        self, n: int, *, label: Tensor | None = None, source: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
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
