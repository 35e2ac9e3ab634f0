"""Kernel density estimation: Rosenblatt 1956; Parzen 1962, On Estimation of a Probability Density Function and Mode.

p(x) = 1/N sum_i K_h(x - x_i) over the training images x_i, pixels on [0, 1]. There is nothing to train: `gancli train`
fits it before the first step (Model.fit_data), the nll loss finds no network to update, and the run is over.
A Gaussian or box gives a density of continuous pixels. On data.dequantise=uniform, levels plus noise, it bounds the
probability of the levels; of levels as they are, it can be compared with no probability. On binary images the
Aitchison-Aitken kernel gives one. Deviation: drawn pixels outside [0, 1] are clipped.

    gancli train model=kde data=digits
"""

import logging
import math

import torch
from torch import Generator, Tensor

from gancli.data.spec import ImageSpec, dequantised, scaled
from gancli.errors import UsageError, did_you_mean
from gancli.models.explicit import Explicit
from gancli.nn.kernels import AitchisonAitken, Box, Gaussian, Kernel

log = logging.getLogger("gancli")

KERNELS: dict[str, type[Kernel]] = {"gaussian": Gaussian, "box": Box, "aitchison_aitken": AitchisonAitken}
RULES = ("loo", "scott", "silverman")


class KDE(Explicit):
    """A kernel on every training image, kept as bytes; of dequantised data, on the middle of their levels' shares.

    Args:
        spec: shape and levels of the images.
        kernel: gaussian, box, or (binary images) aitchison_aitken.
        bandwidth: standard deviation, side of the cube, or probability of a flip; or a rule to choose it by: ``loo``,
            the largest leave-one-out likelihood over the kernel's grid, ``scott`` or ``silverman``, the normal
            reference rules with the pixels' root mean variance, made for few dimensions.
        queries: training images that loo leaves out in turn, evenly spaced.
        chunk: training images compared with at a time.

    Raises:
        UsageError: no such kernel or rule, a bandwidth out of range, or a kernel for other data.
    """

    sampled = ()
    completes = True
    views = ("grid", "completion")
    pixels: Tensor  # (N, C * H * W) uint8, the training images
    bandwidth: Tensor  # () float64

    def __init__(
        self,
        spec: ImageSpec,
        kernel: str = "gaussian",
        bandwidth: float | str = "loo",
        queries: int = 1000,
        chunk: int = 2048,
    ) -> None:
        super().__init__(spec)
        if kernel not in KERNELS:
            known = ", ".join(KERNELS)
            raise UsageError(f"model.kernel={kernel}: allowed are {known}{did_you_mean(kernel, KERNELS)}")
        if kernel == "aitchison_aitken" and (spec.levels != 2 or spec.dequantised):
            raise UsageError(f"model.kernel={kernel} is for binary images: add data.binarise=fixed_seed")
        _check(kernel, bandwidth)
        for key, value in (("queries", queries), ("chunk", chunk)):
            if value < 1:
                raise UsageError(f"model.{key}={value}: allowed is 1 or more")
        self.kernel, self.rule, self.queries, self.chunk = KERNELS[kernel](), bandwidth, queries, chunk
        self.density = self.kernel.density
        self.dim = math.prod(spec.shape)
        self.register_buffer("pixels", torch.empty(0, self.dim, dtype=torch.uint8))
        self.register_buffer("bandwidth", torch.tensor(math.nan, dtype=torch.float64))

    def fit_data(self, pixels: Tensor) -> None:
        """Keep the training images and choose the bandwidth.

        Raises:
            UsageError: a single image, from which no rule can tell a bandwidth.
        """
        self.pixels = pixels.flatten(1).to(self.device, copy=True)
        if not isinstance(self.rule, str):
            h = float(self.rule)
        elif len(pixels) < 2:
            raise UsageError(f"model.bandwidth={self.rule} needs 2 images or more; give a number, model.bandwidth=0.1")
        else:
            h = self._leave_one_out() if self.rule == "loo" else self._reference_rule()
        self.bandwidth.fill_(h)
        log.info("kernel density estimate of %s images, bandwidth %.4g", f"{len(pixels):,}", h)

    def log_prob(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Return log p of each image, (N,) float64 nats: a density of pixels on [0, 1], unless they are binary."""
        x = (image.double().flatten(1) + 1) / 2
        return self._log_sums(x, self.bandwidth[None])[0] - math.log(len(self.pixels))

    def sample(
        self, n: int, *, label: Tensor | None = None, source: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        rows = torch.randint(len(self.pixels), (n,), device=self.device, generator=generator)
        drawn = self.kernel.draw(self._points(self.pixels[rows]), float(self.bandwidth), generator)
        return (drawn.clamp(0, 1) * 2 - 1).float().view(n, *self.spec.shape)

    def complete(
        self, image: Tensor, mask: Tensor, *, label: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Draw the missing part from the exact conditional: that of a training image, chosen by what is there.

        Raises:
            UsageError: what is there lies outside of every training image's kernel.
        """
        there, x, h = ~self._flat(mask), (image.double().flatten(1) + 1) / 2, float(self.bandwidth)
        weights = torch.cat(
            [
                self.kernel.log(self.kernel.distance(x[:, there], self._points(part[:, there])), h, int(there.sum()))
                for part in self.pixels.split(self.chunk)
            ],
            1,
        )
        if not weights.isfinite().any(1).all():
            raise UsageError("an image to complete is impossible: no training image's kernel holds what is there")
        cumulative = weights.softmax(1).cumsum(1)
        noise = torch.rand(len(x), 1, dtype=x.dtype, device=x.device, generator=generator) * cumulative[:, -1:]
        chosen = torch.searchsorted(cumulative, noise).squeeze(1).clamp(max=len(self.pixels) - 1)
        found = self.kernel.draw(self._points(self.pixels[chosen]), h, generator).clamp(0, 1)
        return torch.where(~there, (found * 2 - 1).float(), image.flatten(1)).view_as(image)

    def log_prob_of(self, image: Tensor, mask: Tensor, label: Tensor | None = None) -> Tensor:
        """Return log p(missing | there) = log p(image) - log p(there), exact; (N,) float64 nats."""
        x, there = (image.double().flatten(1) + 1) / 2, ~self._flat(mask)
        whole, part = (self._log_sums(x, self.bandwidth[None], seen=seen)[0] for seen in (None, there))
        return whole - part

    def _flat(self, mask: Tensor) -> Tensor:
        """Return which of an image's numbers a mask of its pixels, (H, W), means: (C * H * W,) bool."""
        return mask.expand(self.spec.shape).flatten()

    def _points(self, pixels: Tensor, noise: Generator | None = None) -> Tensor:
        """Return bytes as points of [0, 1], float64; levels that are spread out at their middles, or by noise."""
        if not self.spec.dequantised:
            return pixels.double() / 255
        levels = self.spec.levels
        if noise is not None:
            return (dequantised(scaled(pixels).double(), levels, noise) + 1) / 2
        return ((pixels.double() * ((levels - 1) / 255)).round() + 0.5) / levels

    def _log_sums(self, x: Tensor, bandwidths: Tensor, own: Tensor | None = None, seen: Tensor | None = None) -> Tensor:
        """Return log sum_i K_h(x - x_i) for each bandwidth, (H, N), by an online logsumexp over chunks of images.

        ``own``, (N,), are the rows that x were taken from, to leave them out; ``seen``, (D,), the ones looked at.
        """
        sums = x.new_full((len(bandwidths), len(x)), -math.inf)
        for start in range(0, len(self.pixels), self.chunk):
            part = self._points(self.pixels[start : start + self.chunk])
            distance = self.kernel.distance(*((x, part) if seen is None else (x[:, seen], part[:, seen])))
            for i, h in enumerate(bandwidths.tolist()):
                log_k = self.kernel.log(distance, h, self.dim if seen is None else int(seen.sum()))
                if own is not None:
                    places = torch.arange(start, start + len(part), device=x.device)
                    log_k = log_k.masked_fill(own[:, None] == places, -math.inf)
                sums[i] = torch.logaddexp(sums[i], log_k.logsumexp(1))
        return sums

    def _leave_one_out(self) -> float:
        """Return the bandwidth of the grid under which left-out training images are likeliest."""
        n = len(self.pixels)
        own = torch.linspace(0, n - 1, min(n, self.queries), device=self.device).round().long()
        noise = torch.Generator(self.device).manual_seed(0)
        sums = torch.cat(
            [
                self._log_sums(self._points(self.pixels[rows], noise), self.kernel.grid, rows)
                for rows in own.split(256)  # times chunk bounds the memory
            ],
            1,
        )
        best = int(sums.mean(1).argmax())
        if best in (0, len(self.kernel.grid) - 1):
            log.warning(
                "the best bandwidth lies at an end of the grid tried; a number, model.bandwidth=..., may be better"
            )
        return float(self.kernel.grid[best])

    def _reference_rule(self) -> float:
        """Return sigma N^(-1/(D+4)) (Scott), or that with N (D+2)/4 for N (Silverman), as scipy and scikit-learn do."""
        values = self._points(self.pixels)
        sigma = values.var(0).mean().sqrt().item()
        n = len(values) * (1.0 if self.rule == "scott" else (self.dim + 2) / 4)
        if sigma == 0:
            raise UsageError(f"model.bandwidth={self.rule}: all images are equal; give a number, model.bandwidth=0.1")
        return sigma * n ** (-1 / (self.dim + 4))

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: object) -> None:
        saved = state_dict.get(f"{prefix}pixels")
        if saved is not None:  # as many images as were fitted
            self.pixels = self.pixels.new_empty(len(saved), self.dim)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _check(kernel: str, bandwidth: float | str) -> None:
    if isinstance(bandwidth, str):
        rules = RULES if kernel == "gaussian" else RULES[:1]
        if bandwidth not in rules:
            raise UsageError(f"model.bandwidth={bandwidth}: with kernel={kernel}, a number or {', '.join(rules)}")
    elif not 0 < bandwidth < (0.5 if kernel == "aitchison_aitken" else math.inf):
        raise UsageError(f"model.bandwidth={bandwidth}: must be above 0, and below 1/2 for aitchison_aitken")
