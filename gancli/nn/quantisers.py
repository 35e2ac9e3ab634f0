"""Quantisers: maps from vectors to a finite number of codes, through which the encoder's gradient passes.

- Finite scalar quantisation (``FSQ``): Mentzer et al. 2024, Finite Scalar Quantization: VQ-VAE Made Simple. Every
  dimension is rounded to one of a few levels; there is no codebook to learn, and no loss of its own.
- Lookup-free quantisation (``LFQ``): Yu et al. 2024, Language Model Beats Diffusion (MAGVIT-v2). Every dimension is
  rounded to its sign; entropies of the codes are added to the loss.
- Vector quantisation with a codebook is in ``codebook.py``.

    gancli train model=vqvae data=mnist quantiser@model.quantiser=fsq
"""

import math
from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from gancli.errors import UsageError
from gancli.nn import ranks
from gancli.nn.init import whiten_
from gancli.nn.likelihoods import wide

MOST_CODES = 2**16
LEAST = 1e-20  # probability of a code: the slope of p log p is infinite at zero


class Quantised(NamedTuple):
    """Vectors that were replaced by codes.

    Args:
        value: the codes' vectors, (N, D, h, w) float32 or wider, through which the gradient passes to the encoder.
        number: of each code, (N, h, w) int64 in [0, levels).
    """

    value: Tensor
    number: Tensor


class Quantiser(nn.Module, ABC):
    """Maps vectors (N, D, h, w) to ``levels`` codes.

    Args:
        dim: number D of dimensions of a vector.
        levels: number of codes.
    """

    learns: ClassVar[bool] = False  # whether update() changes the codes

    def __init__(self, dim: int, levels: int) -> None:
        super().__init__()
        self.dim, self.levels = dim, levels

    @abstractmethod
    def forward(self, z: Tensor) -> Quantised:
        """Replace vectors, (N, D, h, w), by codes."""

    @abstractmethod
    def lookup(self, index: Tensor) -> Tensor:
        """Return the vectors of codes, (N, h, w) int64 -> (N, D, h, w)."""

    def vectors(self) -> Tensor:
        """Return the vectors of all codes, (levels, D)."""
        codes = torch.arange(self.levels, device=next(self.buffers(), torch.empty(0)).device)
        return self.lookup(codes.view(-1, 1, 1)).flatten(1)

    def digits(self, index: Tensor) -> Tensor | None:
        """Return the level of each dimension of codes, (N, h, w) -> (N, D, h, w) int64; None: they have none."""
        return None

    def penalties(self, z: Tensor, found: Quantised) -> dict[str, Tensor]:
        """Return what is added to the loss, by name: nats or squared distances, summed over positions, per image."""
        return {}

    def fit(self, z: Tensor, last: nn.Conv2d) -> None:
        """Bring codes and vectors of the untrained encoder together, once and on the CPU.

        Here the vectors move: levels that are the same for all data are used alike by vectors whose dimensions have
        mean 0, variance 1 and nothing in common. With those of He's initialisation, half of the codes and more may
        stay unused for the whole run.

        Args:
            z: vectors, (N, D, h, w).
            last: 1x1 convolution that they come from.
        """
        whiten_(last, z)

    def observe(self, z: Tensor, found: Quantised) -> None:
        """Remember the statistics of a batch until update()."""

    def statistics(self) -> list[Tensor]:
        """Return what observe() remembers, in place; several processes replace it by its mean before update()."""
        return []

    def update(self) -> None:
        """Follow the statistics of the batch, and forget them."""


class FSQ(Quantiser):
    """Finite scalar quantisation: bound each dimension to L levels by a tanh, round, pass the gradient straight on.

    bound(z) = h tanh(z + atanh(o / h)) - o, with h = (L - 1)(1 + 1e-3) / 2, and o = 1/2 for an even L, else 0. The
    authors' notebook shifts by tan(o / h), which misses bound(0) = 0; vectors are round(bound) / floor(L / 2).

    Args:
        sizes: levels L of each dimension, 3 or more. The paper's: [8,6,5] (240 codes), [8,8,8] (512), [8,5,5,5]
            (1000), [8,8,6,5] (1920), [8,8,8,6,5] (15,360), [8,8,8,5,5,5] (64,000).

    Raises:
        UsageError: there is no dimension, one has fewer than 3 levels, or there are more than 65,536 codes.
    """

    reach: Tensor
    offset: Tensor
    shift: Tensor
    centre: Tensor
    size: Tensor
    basis: Tensor
    SLACK: ClassVar[float] = 1e-3

    def __init__(self, sizes: list[int] | tuple[int, ...] = (8, 6, 5)) -> None:
        if not sizes or min(sizes) < 3:
            raise UsageError(
                f"quantiser.sizes={list(sizes)}: every dimension has 3 levels or more; for two, use "
                "quantiser@model.quantiser=lfq"
            )
        if math.prod(sizes) > MOST_CODES:
            raise UsageError(f"quantiser.sizes={list(sizes)}: {math.prod(sizes):,} codes are more than {MOST_CODES:,}")
        super().__init__(len(sizes), math.prod(sizes))
        reach = [(size - 1) * (1 + self.SLACK) / 2 for size in sizes]
        offset = [0.0 if size % 2 else 0.5 for size in sizes]
        numbers = {
            "reach": reach, "offset": offset, "shift": [math.atanh(o / h) for o, h in zip(offset, reach)],
            "centre": [float(size // 2) for size in sizes],
        }  # fmt: skip
        for name, values in numbers.items():
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)
        basis = [math.prod(sizes[:i]) for i in range(len(sizes))]
        self.register_buffer("size", torch.tensor(sizes).view(-1, 1, 1), persistent=False)
        self.register_buffer("basis", torch.tensor(basis).view(-1, 1, 1), persistent=False)

    def bounded(self, z: Tensor) -> Tensor:
        """Return bound(z) of each dimension, before it is rounded, (N, D, h, w)."""
        return torch.tanh(wide(z) + self.shift) * self.reach - self.offset

    def forward(self, z: Tensor) -> Quantised:
        bounded = self.bounded(z)
        rounded = bounded.detach().round()
        index = ((rounded + self.centre).long() * self.basis).sum(1)
        return Quantised(straight_through(rounded, bounded) / self.centre, index)

    def lookup(self, index: Tensor) -> Tensor:
        return (self.digits(index) - self.centre) / self.centre

    def digits(self, index: Tensor) -> Tensor:
        return index.unsqueeze(1) // self.basis % self.size


class LFQ(Quantiser):
    """Lookup-free quantisation: the code of a vector is its signs, and the gradient passes straight on.

    The loss gets ``entropy`` times E H(p(c|z)) - ``diversity`` H(E p(c|z)), in nats and summed over positions: each
    vector should be certain of its code, and all codes be used (eq. 5 of the paper). p(c|z) is the softmax of minus
    the squared distances |z - c|^2 over all codes c, whose dimensions are independent: the logit of a sign is 4 z.

    Args:
        bits: dimensions of a vector; there are 2^bits codes.
        entropy: weight of both entropies.
        diversity: weight of the second one beside the first.
    """

    place: Tensor

    def __init__(self, bits: Annotated[int, ">= 1", "<= 12"] = 8, entropy: float = 0.1, diversity: float = 1.0) -> None:
        super().__init__(bits, 2**bits)
        self.entropy, self.diversity = entropy, diversity
        self.register_buffer("place", (2 ** torch.arange(bits)).view(-1, 1, 1), persistent=False)

    def forward(self, z: Tensor) -> Quantised:
        z = wide(z)
        positive = z > 0
        sign = positive.to(z.dtype) * 2 - 1
        return Quantised(straight_through(sign, z), (positive * self.place).sum(1))

    def lookup(self, index: Tensor) -> Tensor:
        return self.digits(index).to(torch.float32) * 2 - 1

    def digits(self, index: Tensor) -> Tensor:
        return index.unsqueeze(1) // self.place % 2

    def penalties(self, z: Tensor, found: Quantised) -> dict[str, Tensor]:
        z = wide(z)
        positions = z.shape[2] * z.shape[3]
        logit = 4 * z.movedim(1, 3).flatten(0, 2)  # (M, bits)
        certain = torch.sigmoid(logit)
        each = -(certain * logsigmoid(logit) + (1 - certain) * logsigmoid(-logit)).sum(1).mean()
        joint = certain.new_ones(len(certain), 1)  # p(c|z) of all codes, (M, 2^bits), bit by bit
        for i in range(self.dim):
            bit = certain[:, i : i + 1]
            joint = torch.cat([joint * (1 - bit), joint * bit], 1)
        spread = torch.special.entr(ranks.mean(joint.mean(0)).clamp(min=LEAST)).sum()
        return {"entropy": self.entropy * positions * (each - self.diversity * spread)}


def straight_through(code: Tensor, z: Tensor) -> Tensor:
    """Return ``code``, bit for bit, with the gradient of z."""
    return code.detach() + (z - z.detach())


def used(index: Tensor, levels: int) -> Tensor:
    """Return how often each code occurs, (...) int64 -> (levels,) float32, without waiting for the device."""
    flat = index.flatten()
    ones = torch.ones(len(flat), device=flat.device)
    return torch.zeros(levels, device=flat.device).index_add_(0, flat, ones)


def perplexity(counts: Tensor) -> Tensor:
    """Return the effective number of codes, the exponential of the entropy of their frequencies: (K,) -> ()."""
    return torch.special.entr(counts / counts.sum()).sum().exp()
