"""Penalties on weights whose rows are not orthogonal to each other.

gancli train model=dcgan data=mnist penalty=orthogonal
gancli train model=sngan data=mnist generator_penalty=orthogonal_relaxed
"""

from abc import abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from gancli.losses.penalties import Penalty, PenaltyInputs
from gancli.nn.annealed import Annealed, value
from gancli.ranges import Positive


class WeightPenalty(Penalty):
    """A penalty on each weight of a network, as a matrix with one row per output.

    Args:
        weight: factor of the sum over all layers.
        interval: see Penalty.
    """

    second_order = False

    def __init__(self, weight: float | Annealed = 1e-4, interval: Positive = 1) -> None:
        super().__init__(interval)
        self.weight = weight

    def __call__(self, game: PenaltyInputs) -> Tensor:
        matrices = [p.flatten(1) for p in self.penalised(game.network)]
        with torch.autocast(game.real.device.type, enabled=False):  # bfloat16 rounds products near 1 to 1 / 256
            return value(self.weight, game.progress) * sum(self.distance(w) for w in matrices)

    def penalised(self, network: nn.Module) -> Iterator[Tensor]:
        """Yield the weights, with two or more dimensions, that are penalised."""
        return (p for p in network.parameters() if p.ndim > 1)

    @abstractmethod
    def distance(self, w: Tensor) -> Tensor:
        """Return the penalty of one matrix, (outputs, inputs) -> ()."""


class Orthogonal(WeightPenalty):
    """Brock et al. 2019, Large Scale GAN Training (BigGAN), eq. 2: || W W^T - I ||^2 in Frobenius norm, per layer.

    Where W has more rows than columns, W^T W is compared, which alone can be I. Brock et al. 2017, Neural Photo
    Editing, who introduced the penalty, sum absolute values instead; BigGAN itself was trained with OrthogonalRelaxed.
    """

    def distance(self, w: Tensor) -> Tensor:
        w = w if w.shape[0] <= w.shape[1] else w.T
        return (w @ w.T - torch.eye(len(w), device=w.device, dtype=w.dtype)).square().sum()


class OrthogonalRelaxed(WeightPenalty):
    """Brock et al. 2019, eq. 3: beta || W W^T o (1 - I) ||^2 in Frobenius norm, per layer: rows may have any length.

    The release does not differentiate it but adds 2 beta ((W W^T o (1 - I)) W) to the gradient, which is half of its
    gradient, so that the term here is beta / 2 times the square. Tables of embeddings, whose rows are classes and not
    outputs, are left out (the release leaves out the one that the generator's layers share). With spectral norm, W is
    the weight before its division.
    """

    def penalised(self, network: nn.Module) -> Iterator[Tensor]:
        tables = [m for m in network.modules() if isinstance(m, nn.Embedding)]
        left_out = {id(p) for table in tables for p in table.parameters()}
        return (p for p in super().penalised(network) if id(p) not in left_out)

    def distance(self, w: Tensor) -> Tensor:
        products = w @ w.T
        return (products.square().sum() - products.diagonal().square().sum()) / 2
