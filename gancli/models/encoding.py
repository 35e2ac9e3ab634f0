"""What an encoder says of given pictures: Kingma & Welling 2014, Auto-Encoding Variational Bayes, section 3.

gancli encode ckpt=latest images=faces/ out=latents.npz
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from gancli.data.spec import scaled
from gancli.errors import UsageError
from gancli.models.base import Model
from gancli.models.latent import GaussianLatents

Watch = Callable[[str, int, int], None]  # what, done, total


class Encoded(NamedTuple):
    """The normal posteriors q(z|x) of N pictures, each with a diagonal covariance."""

    mean: Tensor  # (N, d)
    std: Tensor  # (N, d), standard deviations


def encodable(model: Model) -> GaussianLatents:
    """Return a model that has posteriors of images. Raises UsageError."""
    if not isinstance(model, GaussianLatents):
        raise UsageError(
            f"{type(model).__name__} has no encoder with one normal vector of latents; use a variational autoencoder "
            "that has one, such as vae"
        )
    return model


@torch.no_grad()
def encode(
    model: GaussianLatents,
    pixels: Tensor,
    label: Tensor | None,
    *,
    batch_size: int = 64,
    watch: Watch = lambda what, done, total: None,
) -> Encoded:
    """Encode pictures; a model of levels sees the nearest ones.

    Args:
        model: in eval mode.
        pixels: pictures, (N, C, H, W) uint8 of the model's size, N at least 1.
        label: their classes, (N,) on the model's device, for a conditional model.
        batch_size: pictures at a time, 1 or more.
        watch: is told of the pictures done.

    Returns:
        Means and standard deviations on the CPU, float32 or wider.
    """
    means, stds = [], []
    for start in range(0, len(pixels), batch_size):
        watch("pictures", start, len(pixels))
        part = slice(start, start + batch_size)
        image = model.known(scaled(pixels[part].to(model.device)))
        mean, log_var = model.infer(image, None if label is None else label[part])
        means.append(mean.cpu())
        stds.append((log_var / 2).exp().cpu())
    return Encoded(torch.cat(means), torch.cat(stds))
