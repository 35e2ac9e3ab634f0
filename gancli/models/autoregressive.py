"""The family of autoregressive models of pixels: sampling and completion."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError, did_you_mean
from gancli.models.explicit import Explicit
from gancli.models.pixel_sampling import Given, Kept, PixelSampler, check_recorded, fixed_point
from gancli.nn.full_precision import full_precision
from gancli.nn.labels import Condition
from gancli.nn.levels import LevelEmbedding
from gancli.nn.likelihoods import Likelihood
from gancli.nn.stepper import Stepper, Whole
from gancli.ranges import Above


class Autoregressive(Explicit):
    """A network that predicts each pixel's distribution from the pixels before it in some order.

    Sampling is a deterministic function of uniform noise: every sampler maps the same noise to the same images.

    - ``naive`` evaluates the whole network for each pixel (and colour),
    - ``cache`` evaluates it at that pixel only; each layer keeps its earlier inputs,
    - ``wavefront`` does the same for several pixels at once, as long as they do not depend on each other,
    - ``jacobi`` evaluates the whole network at all pixels repeatedly until nothing changes.

    ``cache`` and ``wavefront`` are derived from ``forward``, provided that it consists of ``Local`` layers
    (nn.incremental) and pixelwise operations; other networks override stepper(). After sampling, one evaluation of the
    whole network checks the parameters that the pixels were sampled from.

    Args:
        spec: shape and levels of the images.
        likelihood: called with ``levels=`` to build the likelihood.
        sampler: one of the above.

    Raises:
        UsageError: the sampler is unknown, the data is dequantised, or the likelihood does not suit the data: codes
            (``spec.nominal``) need one channel and a likelihood that does not order levels.
    """

    sampled = ("net",)
    completes = True
    views = ("grid", "completion")
    SAMPLERS: ClassVar[tuple[str, ...]] = ("naive", "cache", "wavefront", "jacobi")
    EMBEDDED: ClassVar[int] = 8  # embedding dimensions of each nominal level
    net: nn.Module

    def __init__(self, spec: ImageSpec, likelihood: Callable[..., Likelihood], sampler: str = "wavefront") -> None:
        super().__init__(spec)
        self.check_sampler(sampler)
        if spec.dequantised:
            raise UsageError(
                f"{type(self).__name__} models the probability of discrete levels, but data.dequantise=uniform makes "
                "them continuous: use data.dequantise=null, or a density model, such as model=kde"
            )
        self.likelihood, self.sampler = likelihood(levels=spec.levels), sampler
        self.density, self.bound = self.likelihood.density, self.likelihood.bound
        if spec.nominal and spec.channels > 1:
            raise UsageError(
                f"{type(self).__name__} takes maps of codes with one channel, but these have {spec.channels}"
            )
        if not self.likelihood.local:
            raise UsageError(
                f"likelihood {type(self.likelihood).__name__} has a scale that all pixels share, which tells of those "
                "to come: use likelihood@model.likelihood=logistic_mixture"
            )
        if spec.nominal and self.likelihood.ordered:
            raise UsageError(
                f"likelihood {type(self.likelihood).__name__} treats levels as ordered, but this data consists of "
                "unordered codes: use likelihood@model.likelihood=categorical"
            )
        self.temperature = 1.0  # of sample() and complete()
        self._kept = Kept()

    def reader(self) -> tuple[LevelEmbedding | None, int]:
        """Return the layer that embeds the image for the network, and its number of channels.

        Ordered levels need no layer; for them, return None and the image's own channels.
        """
        if not self.spec.nominal:
            return None, self.spec.channels
        return LevelEmbedding(self.spec.levels, self.EMBEDDED), self.EMBEDDED

    def set_sampling(self, temperature: Above = 1.0, sampler: str | None = None) -> None:
        """Set the options of sample() and complete().

        Args:
            temperature: below 1 favours likely pixels, above 1 unlikely ones.
            sampler: one of SAMPLERS; None keeps the model's own.

        Raises:
            UsageError: the sampler is unknown.
        """
        if sampler is not None:
            self.check_sampler(sampler)
            self.sampler = sampler
        self.temperature = temperature

    @classmethod
    def check_sampler(cls, sampler: str) -> None:
        """Check the name of a sampler.

        Raises:
            UsageError: the sampler is unknown; the message lists the known ones.
        """
        if sampler not in cls.SAMPLERS:
            known = ", ".join(cls.SAMPLERS)
            raise UsageError(f"model.sampler={sampler}: allowed are {known}{did_you_mean(sampler, cls.SAMPLERS)}")

    def forward(self, image: Tensor, label: Condition | None = None) -> Tensor:
        """Map quantised images to the distribution parameters of each pixel, (N, likelihood.channels(C), H, W)."""
        return self.net(image)

    def log_prob(self, image: Tensor, label: Condition | None = None) -> Tensor:
        image = self.likelihood.snap(image)
        return -self.likelihood.nll(self(image, label), image)

    def order(self) -> Tensor:
        """Return the pixel indices, row * width + column, in sampling order: (H * W,) int64 on the CPU."""
        return torch.arange(self.spec.height * self.spec.width)

    def noise(self, n: int, generator: Generator | None = None) -> Tensor:
        """Sample the noise that from_noise() consumes: (n, likelihood.noise_channels(C), H, W) uniform on [0, 1)."""
        channels = self.likelihood.noise_channels(self.spec.channels)
        return torch.rand(n, channels, self.spec.height, self.spec.width, device=self.device, generator=generator)

    def sample(
        self, n: int, *, label: Tensor | None = None, source: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        label = self.labels(n, generator) if label is None else label
        return self.from_noise(self.noise(n, generator), label)

    def skip(self, n: int, *, label: Tensor | None = None, generator: Generator) -> None:
        if label is None:
            self.labels(n, generator)
        self.noise(n, generator)

    def from_noise(
        self, noise: Tensor, label: Condition | None = None, sampler: str | None = None, given: Given | None = None
    ) -> Tensor:
        """Map noise() to images, (N, C, H, W) in [-1, 1]; ``sampler`` defaults to the model's.

        Raises:
            UsageError: the sampler and the whole network disagree.
        """
        sampler, noise = sampler or self.sampler, noise.to(next(self.parameters()).dtype)
        with torch.inference_mode(), full_precision(noise.device):
            if sampler == "jacobi":
                image = fixed_point(self, self.likelihood, noise, label, given, self.spec.channels, self.temperature)
            else:
                pixel_sampler = self._pixel_sampler(sampler, noise, label, given)
                image, recorded = pixel_sampler(noise, label, given), pixel_sampler.stepper.recorded()
                if recorded is not None:
                    check_recorded(recorded, self(image, label), sampler)
        return image.clone()  # the clone is made outside inference mode, so it is a normal tensor

    def stepper(self, sampler: str, image: Tensor, label: Condition | None) -> Stepper:
        """Return the Stepper of a sampler; it may keep and overwrite ``image``, (N, C, H, W) zeros."""
        if sampler == "naive":
            return Whole(self, image, self.order())
        return self._kept.stepper(self, self.order(), image, label, together=sampler == "wavefront")

    def _pixel_sampler(self, sampler: str, noise: Tensor, label: Condition | None, given: Given | None) -> PixelSampler:
        """Return a pixel sampler, reusing the previous one when shapes and settings match."""

        def make() -> PixelSampler:
            image = noise.new_zeros(len(noise), *self.spec.shape)
            stepper = self.stepper(sampler, image, label)
            return PixelSampler(
                stepper,
                self.likelihood,
                noise.shape,
                self.spec.channels,
                temperature=self.temperature,
                given=given is not None,
                like=image,
                record=self.graphs,
            )

        key = (sampler, noise.shape, noise.dtype, noise.device, label is None, given is None, self.temperature)
        return self._kept.pixel_sampler((*key, self.graphs, self.order().numpy().tobytes()), make)

    def complete(
        self, image: Tensor, mask: Tensor, *, label: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        return self.from_noise(
            self.noise(len(image), generator), label, given=Given(self.likelihood.snap(image), ~mask)
        )

    def log_prob_of(self, image: Tensor, mask: Tensor, label: Tensor | None = None) -> Tensor:
        image = self.likelihood.snap(image)
        return -self.likelihood.nll(self(image, label)[:, :, mask], image[:, :, mask])

    def unseen(self, mask: Tensor) -> Tensor:
        rank = torch.empty(mask.numel(), dtype=torch.int64)
        rank[self.order()] = torch.arange(mask.numel())
        missing = mask.flatten().cpu()
        first = rank[missing].min() if missing.any() else mask.numel()
        return ((rank > first) & ~missing).view_as(mask).to(mask.device)
