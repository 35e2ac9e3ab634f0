"""Exponential moving average of weights, with a half-life in images."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gancli.models.base import Model
from gancli.nn.annealed import Annealed, bounds, changes, value
from gancli.training.integrity import load_weights


class EMA:
    """A copy of the model whose sampled networks are moving averages of the trained ones; all others are shared.

    A constant half-life is at most RAMP times the images so far, so that early samples are not those of the
    initialisation (the ramp of 0.05 in StyleGAN2-ADA's training loop); one that changes over the run, as in R3GAN, is a
    ramp already, and is taken as it is. Batch-norm statistics are averaged like weights,
    so that they match the averaged network. Integer buffers are copied, and so are the buffers whose names a module
    lists in the tuple ``copied``: vectors of a power iteration, a codebook.

    The clock counts the images that the averaged networks were trained on: a critic's five batches per update of the
    generator count once.

    Args:
        model: the model in training.
        half_life: number of images after which a weight's contribution has halved; 0 disables the average.
    """

    RAMP = 0.05

    def __init__(self, model: Model, half_life: float | Annealed) -> None:
        # Without networks to average, as in kernel density estimation, a copy would keep what resuming replaces.
        self.half_life, self.on, self.images = half_life, bounds(half_life)[1] > 0 and bool(model.sampled), 0
        shared = {id(child): child for name, child in model.named_children() if name not in model.sampled}
        self.model = copy.deepcopy(model, memo=shared) if self.on else model
        trained, averaged = ([m.get_submodule(n) for n in model.sampled] for m in (model, self.model))
        for net in averaged if self.on else ():
            net.requires_grad_(False)
        pairs = [pair for nets in zip(trained, averaged) for pair in zip(*map(_tensors, nets), strict=True)]
        blended = [(source, target) for (source, mean), (target, _) in pairs if mean]
        self.sources, self.targets = [source for source, _ in blended], [target for _, target in blended]
        self.copied = [(source, target) for (source, mean), (target, _) in pairs if not mean]

    def update(self, batch: int, share: float = 0.0) -> None:
        """Update the average after the networks were trained on ``batch`` more images: prepare(), then compute()."""
        weight = self.prepare(batch, share)
        if weight is not None:
            self.compute(weight)

    def prepare(self, batch: int, share: float = 0.0) -> float | None:
        """Move the clock and return the weight of the trained networks in the next average; None: there is none.

        Args:
            batch: number of images, 0 or more.
            share: completed share of the run, in [0, 1], for a half-life that changes.
        """
        self.images += batch
        if not self.on or not batch:
            return None
        half_life = value(self.half_life, share)
        if not changes(self.half_life):
            half_life = min(half_life, self.images * self.RAMP)
        return 1 - 0.5 ** (batch / max(half_life, 1e-8))

    @torch.no_grad()
    def compute(self, weight: float | Tensor) -> None:
        """Average: the device part. The weight is a number, or a 0-dim tensor where it is to change between replays."""
        if isinstance(weight, Tensor):  # _foreach_lerp_ takes no such weight
            steps = torch._foreach_sub(self.sources, self.targets)
            torch._foreach_mul_(steps, weight)
            torch._foreach_add_(self.targets, steps)
        else:
            torch._foreach_lerp_(self.targets, self.sources, weight)
        if self.copied:
            torch._foreach_copy_([target for _, target in self.copied], [source for source, _ in self.copied])

    @contextmanager
    def sampling(self) -> Iterator[Model]:
        """Yield the averaged model (or, without an average, the trained one) in eval mode, without gradients."""
        nets = [self.model.get_submodule(name) for name in self.model.sampled]
        modes = [net.training for net in nets]
        for net in nets:
            net.eval()
        try:
            with torch.no_grad():
                yield self.model
        finally:
            for net, mode in zip(nets, modes):
                net.train(mode)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the averaged networks' tensors under the model's keys; empty without an average."""
        if not self.on:
            return {}
        keep = tuple(f"{name}." for name in self.model.sampled)
        return {key: value for key, value in self.model.state_dict().items() if key.startswith(keep)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        if self.on:
            load_weights(self.model, self.model.state_dict() | state)


def _tensors(net: nn.Module) -> list[tuple[Tensor, bool]]:
    """Return the parameters and buffers of a network, each once, and whether they are averaged rather than copied."""
    found: dict[int, tuple[Tensor, bool]] = {}
    for module in net.modules():
        copied = getattr(module, "copied", ())
        for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
            found.setdefault(id(tensor), (tensor, tensor.is_floating_point() and name not in copied))
    return list(found.values())
