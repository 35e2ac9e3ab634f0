"""Kernels for density estimation: log density, sampling, and a grid of bandwidths."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Generator, Tensor


class Kernel(ABC):
    """A distribution around a point of [0, 1]^D with one bandwidth h."""

    density = True  # False: a probability of points of {0, 1}^D
    grid: Tensor  # candidate bandwidths, ascending; on the CPU, whatever the default device where it is imported

    @abstractmethod
    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the distance of each pair, as log() expects it. (N, D), (M, D) float64 -> (N, M)."""

    @abstractmethod
    def log(self, distance: Tensor, h: float, dim: int) -> Tensor:
        """Return the log density or probability of points at this distance in nats, shaped like ``distance``."""

    @abstractmethod
    def draw(self, y: Tensor, h: float, generator: Generator | None) -> Tensor:
        """Sample a point around each of ``y``, (N, D)."""


class Gaussian(Kernel):
    """N(y, h^2 I); its distance is the squared Euclidean one."""

    grid = torch.logspace(-2, 0, 41, dtype=torch.float64, device="cpu")

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        # |x|^2 + |y|^2 - 2xy avoids an N x M x D tensor; in float64 the cancellation is negligible.
        squares = x.square().sum(1, keepdim=True) + y.square().sum(1)
        return torch.addmm(squares, x, y.T, alpha=-2).clamp_(min=0)

    def log(self, distance: Tensor, h: float, dim: int) -> Tensor:
        return distance / (-2 * h * h) - dim * (math.log(h) + math.log(2 * math.pi) / 2)

    def draw(self, y: Tensor, h: float, generator: Generator | None) -> Tensor:
        return y + h * torch.randn(y.shape, dtype=y.dtype, device=y.device, generator=generator)


class Box(Kernel):
    """Uniform on the cube of side h around y (Parzen 1962); its distance is the maximum norm."""

    # At 2, every cube contains all of [0, 1]^D.
    grid = torch.logspace(-2, math.log10(2), 41, dtype=torch.float64, device="cpu")

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.cdist(x, y, p=math.inf)

    def log(self, distance: Tensor, h: float, dim: int) -> Tensor:
        return torch.where(distance <= h / 2, -dim * math.log(h), -math.inf)

    def draw(self, y: Tensor, h: float, generator: Generator | None) -> Tensor:
        return y + h * (torch.rand(y.shape, dtype=y.dtype, device=y.device, generator=generator) - 0.5)


class AitchisonAitken(Kernel):
    """Flip each bit of y with probability h < 1/2 (Aitchison & Aitken 1976); its distance is the Hamming distance."""

    density = False
    grid = torch.logspace(-3, math.log10(0.49), 41, dtype=torch.float64, device="cpu")

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.addmm(x.sum(1, keepdim=True) + y.sum(1), x, y.T, alpha=-2)

    def log(self, distance: Tensor, h: float, dim: int) -> Tensor:
        return distance * math.log(h) + (dim - distance) * math.log1p(-h)

    def draw(self, y: Tensor, h: float, generator: Generator | None) -> Tensor:
        flip = torch.rand(y.shape, dtype=y.dtype, device=y.device, generator=generator) < h
        return torch.where(flip, 1 - y, y)
