"""Walks between latents."""

import torch
from torch import Tensor

from gancli.errors import UsageError
from gancli.models.base import Adversarial, Model
from gancli.models.sampling import class_labels, finished

STEPS = 10  # images per row of an interpolation


@torch.no_grad()
def walk(model: Model, rows: int, *, seed: int, label: int | None = None) -> Tensor:
    """Interpolate between ``rows`` pairs of latents, (rows * STEPS, C, H, W) uint8, row by row, each of one class.

    Raises:
        UsageError: the model has no latents, or does not know the label.
    """
    if not isinstance(model, Adversarial):
        raise UsageError(f"{type(model).__name__} has no latent space to walk in; use kind=grid")
    generator = torch.Generator(model.device).manual_seed(seed)
    ends = model.latent(2 * rows, generator)
    t = torch.linspace(0, 1, STEPS, device=model.device).view(-1, *[1] * (ends.dim() - 1))
    classes = class_labels(model, rows, label)
    labels = [None] * rows if classes is None else classes.to(model.device)[:, None].expand(-1, STEPS)
    pairs = zip(ends[::2], ends[1::2], labels)
    return torch.cat([finished(model, model.generate(model.interpolate(a, b, t), each)) for a, b, each in pairs])
