"""Kernel density estimation: Rosenblatt 1956; Parzen 1962, On Estimation of a Probability Density Function and Mode.

p(x) = 1/N sum_i K_h(x - x_i) over the training images x_i, pixels on [0, 1]. There is nothing to train: `gancli train`
fits the model before the first step (Model.fit_data), the nll loss finds no network to update, and the run ends.

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
from gancli.ranges import Positive

log = logging.getLogger("gancli")

KERNELS: dict[str, type[Kernel]] = {"gaussian": Gaussian, "box": Box, "aitchison_aitken": AitchisonAitken}
RULES = ("loo", "scott", "silverman")


class KDE(Explicit):
    """A kernel on every training image, which is kept as bytes; dequantised levels are centred in their interval.

    Args:
        spec: shape and levels of the images.
        kernel: gaussian, box, or (binary images) aitchison_aitken.
        bandwidth: standard deviation, side of the cube, or probability of a flip; or a rule that chooses it: ``loo``
            maximises the leave-one-out likelihood over the kernel's grid; ``scott`` and ``silverman`` are the normal
            reference rules, made for few dimensions, with the root mean variance of the pixels.
        queries: number of evenly spaced training images that loo leaves out in turn.
        chunk: number of training images per comparison.

    Raises:
        UsageError: the kernel or rule is unknown, the bandwidth is out of range, or the kernel does not suit the data.
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
        queries: Positive = 1000,
        chunk: Positive = 2048,
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
            UsageError: there is only one image, too few for any rule.
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
        """Sample the missing part from the exact conditional: choose a training image by the known part.

        Raises:
            UsageError: the known part lies outside every training image's kernel.
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
            raise UsageError("an image cannot be completed: its known part lies outside every training image's kernel")
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
        """Expand a mask of pixels, (H, W), to one of all values of an image, (C * H * W,) bool."""
        return mask.expand(self.spec.shape).flatten()

    def _points(self, pixels: Tensor, noise: Generator | None = None) -> Tensor:
        """Map bytes to [0, 1], float64; dequantised levels to the middle of their interval, or at random with noise."""
        if not self.spec.dequantised:
            return pixels.double() / 255
        levels = self.spec.levels
        if noise is not None:
            return (dequantised(scaled(pixels).double(), levels, noise) + 1) / 2
        return ((pixels.double() * ((levels - 1) / 255)).round() + 0.5) / levels

    def _log_sums(self, x: Tensor, bandwidths: Tensor, own: Tensor | None = None, seen: Tensor | None = None) -> Tensor:
        """Return log sum_i K_h(x - x_i) for each bandwidth, (H, N), by an online logsumexp over chunks of images.

        ``own``, (N,): the rows of x in the training images, to be left out. ``seen``, (D,): the values to compare.
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
        """Return the bandwidth of the grid that maximises the likelihood of left-out training images."""
        n = len(self.pixels)
        own = torch.linspace(0, n - 1, min(n, self.queries), device=self.device).round().long()
        noise = torch.Generator(self.device).manual_seed(0)
        sums = torch.cat(
            [
                self._log_sums(self._points(self.pixels[rows], noise), self.kernel.grid, rows)
                for rows in own.split(256)  # 256 * chunk bounds the memory
            ],
            1,
        )
        best = int(sums.mean(1).argmax())
        if best in (0, len(self.kernel.grid) - 1):
            log.warning(
                "the best bandwidth lies at an end of the search grid: a number, model.bandwidth=..., may be better"
            )
        return float(self.kernel.grid[best])

    def _reference_rule(self) -> float:
        """Return sigma N^(-1/(D+4)) (Scott), or with N (D+2)/4 for N (Silverman), as in scipy and scikit-learn."""
        values = self._points(self.pixels)
        sigma = values.var(0).mean().sqrt().item()
        n = len(values) * (1.0 if self.rule == "scott" else (self.dim + 2) / 4)
        if sigma == 0:
            raise UsageError(f"model.bandwidth={self.rule}: all images are equal; give a number, model.bandwidth=0.1")
        return sigma * n ** (-1 / (self.dim + 4))

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: object) -> None:
        saved = state_dict.get(f"{prefix}pixels")
        if saved is not None:  # the size depends on the number of training images
            self.pixels = self.pixels.new_empty(len(saved), self.dim)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _check(kernel: str, bandwidth: float | str) -> None:
    if isinstance(bandwidth, str):
        rules = RULES if kernel == "gaussian" else RULES[:1]
        if bandwidth not in rules:
            raise UsageError(f"model.bandwidth={bandwidth}: kernel={kernel} takes a number or {', '.join(rules)}")
    elif not 0 < bandwidth < (0.5 if kernel == "aitchison_aitken" else math.inf):
        raise UsageError(f"model.bandwidth={bandwidth}: must be above 0, and below 1/2 for aitchison_aitken")
