"""Sums and means over the whole batch where several processes each have a part of it, with gradients of any order.

A formula over the batch, such as the mean score of all generated images, calls these; in one process, and outside of a
step of training, they return what they are given. Everything else averages by itself: losses are means over images, the
parts are equal, and so the mean of the processes' gradients is the gradient of the whole batch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from gancli.errors import RankLost

_world, _rank = 1, 0  # number of processes whose parts make a batch, and that of this one


@contextmanager
def together(world: int, rank: int = 0) -> Iterator[None]:
    """Let a step see the parts of ``world`` processes, all of which have to be in the same step."""
    global _world, _rank
    before, (_world, _rank) = (_world, _rank), (world, rank)
    try:
        yield
    finally:
        _world, _rank = before


def parts() -> int:
    """Return the number of processes whose parts make the batch of the current step; 1 outside of a step."""
    return _world


def sum_(x: Tensor, *, most: bool = False) -> None:
    """Replace a contiguous tensor by its sum over all processes, or by the largest value (``most``); no gradient.

    Raises:
        RankLost: another process has ended.
    """
    try:
        if most:
            torch.distributed.all_reduce(x, torch.distributed.ReduceOp.MAX)
        else:
            torch.distributed.all_reduce(x)
    except RuntimeError as error:
        raise RankLost.told(error) from error


class _Total(torch.autograd.Function):
    """The sum over all processes, whose derivative is the sum of theirs: each input is part of every output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        found = x.detach().clone(memory_format=torch.contiguous_format)
        sum_(found)
        return found

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _Total.apply(gradient)  # which can be differentiated again


def total(x: Tensor) -> Tensor:
    """Return the sum of a tensor of any shape over the parts of the batch."""
    return x if _world == 1 else _Total.apply(x)


def mean(x: Tensor) -> Tensor:
    """Return the mean over the whole batch of what is the mean over the own part, of any shape."""
    return x if _world == 1 else _Total.apply(x) / _world


def share_out(rows: Tensor) -> Tensor:
    """Weight (N, ...) rows so that their mean over all processes has each row from one of them, in turn."""
    if _world == 1:
        return rows
    own = torch.arange(len(rows), device=rows.device) % _world == _rank
    return torch.where(own.view(-1, *[1] * (rows.ndim - 1)), rows * _world, torch.zeros_like(rows))


def std(x: Tensor) -> Tensor:
    """Return the standard deviation of all values of the whole batch, (), without Bessel's correction."""
    if _world == 1:
        return x.std(correction=0)
    return mean((x - mean(x.mean())).square().mean()).sqrt()
