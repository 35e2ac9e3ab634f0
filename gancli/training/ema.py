"""Exponential moving average of weights, with a half-life in images."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gancli.models.base import Model


class EMA:
    """A copy of the model whose sampled networks follow the trained ones with a lag; it shares all the others.

    The half-life grows with the run until it reaches ``half_life``, so that early samples are not those of the
    initialisation (the ramp of 0.05 of StyleGAN2-ADA's training loop). Batch-norm statistics are averaged like weights:
    they then belong to the averaged network, not to the latest one.

    Args:
        model: the model in training.
        half_life: images after which a weight's share has halved; 0 keeps no average.
    """

    RAMP = 0.05

    def __init__(self, model: Model, half_life: int) -> None:
        self.half_life = half_life
        shared = {id(child): child for name, child in model.named_children() if name not in model.sampled}
        self.model = copy.deepcopy(model, memo=shared) if half_life else model
        trained, averaged = ([m.get_submodule(n) for n in model.sampled] for m in (model, self.model))
        self.source = [t for net in trained for t in (*net.parameters(), *net.buffers())]
        self.target = [t for net in averaged for t in (*net.parameters(), *net.buffers())]
        for net in averaged if half_life else ():
            net.requires_grad_(False)
        floats = [i for i, t in enumerate(self.source) if t.is_floating_point()]
        self.floats = [self.source[i] for i in floats], [self.target[i] for i in floats]
        self.rest = [(s, t) for i, (s, t) in enumerate(zip(self.source, self.target)) if i not in set(floats)]

    @torch.no_grad()
    def update(self, batch: int, images: int) -> None:
        """Take in the weights after an update of ``batch`` images, the run having seen ``images`` in all."""
        if not self.half_life:
            return
        half_life = min(self.half_life, max(images * self.RAMP, 1e-8))
        torch._foreach_lerp_(self.floats[1], self.floats[0], 1 - 0.5 ** (batch / half_life))
        for source, target in self.rest:  # counters
            target.copy_(source)

    @contextmanager
    def sampling(self) -> Iterator[Model]:
        """Give the averaged model (or, without an average, the trained one) in eval mode, without gradients."""
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

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the averaged networks' tensors under the model's keys; empty without an average."""
        if not self.half_life:
            return {}
        keep = tuple(f"{name}." for name in self.model.sampled)
        return {key: value for key, value in self.model.state_dict().items() if key.startswith(keep)}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        if self.half_life:
            self.model.load_state_dict(self.model.state_dict() | state)
