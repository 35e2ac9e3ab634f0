"""The family of models with an explicit likelihood."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Generator, Tensor

from gancli.data.spec import dequantised
from gancli.errors import UsageError
from gancli.models.base import Model
from gancli.models.held_out import Answer, HeldOut, Kind


class Explicit(Model):
    """A model that computes the likelihood of an image; ``losses/nll.py`` trains its ``sampled`` networks."""

    completes: ClassVar[bool] = False  # whether complete() is implemented
    density: bool = False  # whether log_prob is the log of a density on [0, 1]^D rather than of a probability
    bound: bool = False  # whether log_prob is only known to be no greater than the true one

    @abstractmethod
    def log_prob(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Return the log-likelihood of each image, (N,) nats: exact, or a lower bound if ``bound`` says so."""

    def held_out(self) -> HeldOut:
        """Return the likelihood; dequantised data gets the same noise for every model."""
        levels = self.spec.levels
        kind: Kind = "bound" if self.bound else "density" if self.density else "exact"
        if not self.spec.dequantised:
            how = "density of pixels in [0, 1]" if self.density else ""
            return HeldOut(Answer(lambda image, label: -self.log_prob(image, label)), kind, levels, how=how)
        noise = torch.Generator(self.device).manual_seed(0)

        def nats(image: Tensor, label: Tensor | None) -> Tensor:
            return -self.log_prob(dequantised(image, levels, noise), label)

        def skip(image: Tensor, label: Tensor | None) -> None:
            dequantised(image, levels, noise)

        how = "uniform dequantisation, Theis et al. 2016"
        return HeldOut(Answer(nats, skip, [noise]), kind, levels, spread=levels, how=how)

    def training_nats(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Return the training objective, (N,) nats: -log_prob, or a cheaper upper bound on it in expectation."""
        return -self.log_prob(image, label)

    def complete(
        self, image: Tensor, mask: Tensor, *, label: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Sample the missing part of each image given the rest: (N, C, H, W) in [-1, 1] -> the same.

        Args:
            image: known pixels are rounded to the nearest level and otherwise kept bit for bit.
            mask: (H, W) bool, true where a pixel is missing.
            label, generator: as for sample().

        Raises:
            UsageError: the model cannot complete images.
        """
        raise UsageError(f"{type(self).__name__} cannot complete images: use an autoregressive model or model=kde")

    def log_prob_of(self, image: Tensor, mask: Tensor, label: Tensor | None = None) -> Tensor:
        """Return the log-probability of the masked pixels given what complete() saw of the others, (N,) nats."""
        raise UsageError(f"{type(self).__name__} cannot complete images")

    def unseen(self, mask: Tensor) -> Tensor:
        """Return the known pixels that some missing pixel ignores because they come after it, (H, W) bool."""
        return torch.zeros_like(mask)
