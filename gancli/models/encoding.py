"""What an encoder says of given pictures: normal posteriors of latents, or maps of codes.

Kingma & Welling 2014, Auto-Encoding Variational Bayes, section 3; van den Oord et al. 2017, Neural Discrete
Representation Learning, eq. 1.

gancli encode ckpt=latest images=faces/ out=latents.npz
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gancli.data.spec import scaled
from gancli.errors import UsageError
from gancli.models.base import Model
from gancli.models.discrete import DiscreteLatents
from gancli.models.latent import GaussianLatents, LatentVariable

Watch = Callable[[str, int, int], None]  # what, done, total


class Encoded(NamedTuple):
    """The normal posteriors q(z|x) of N pictures, each with a diagonal covariance."""

    mean: Tensor  # (N, d)
    std: Tensor  # (N, d), standard deviations


class EncodedCodes(NamedTuple):
    """The maps of codes of N pictures, by name: a single one is called "", those of a VQ-VAE-2 top and bottom."""

    codes: dict[str, Tensor]  # (N, h, w) int64
    digits: dict[str, Tensor]  # (N, D, h, w) int64: the level of each dimension, where codes are made of levels
    vectors: dict[str, Tensor]  # (K, D): that of each code, where a quantiser has them


Codes = Encoded | EncodedCodes


def encodable(model: Model) -> GaussianLatents | DiscreteLatents:
    """Return a model that has posteriors or codes of images. Raises UsageError."""
    if not isinstance(model, (GaussianLatents, DiscreteLatents)):
        raise UsageError(
            f"{type(model).__name__} has no encoder with one normal vector of latents or with maps of codes; use a "
            "model that has one, such as vae or vqvae"
        )
    return model


def takes_class(model: Model) -> bool:
    """Return whether the class of a picture matters to the model's encoder, and not to the prior of its codes alone."""
    return model.conditional and not isinstance(model, DiscreteLatents)


def normal(model: Model) -> GaussianLatents:
    """Return a model that has normal posteriors of images. Raises UsageError."""
    if not isinstance(model, GaussianLatents):
        raise UsageError(
            f"{type(model).__name__} has no encoder with one normal vector of latents; use a variational autoencoder "
            "that has one, such as vae"
        )
    return model


def encode(
    model: GaussianLatents | DiscreteLatents,
    pixels: Tensor,
    label: Tensor | None,
    *,
    batch_size: int = 64,
    watch: Watch = lambda what, done, total: None,
) -> Codes:
    """Encode pictures; a model of levels sees the nearest ones. Codes do not depend on the class.

    Args:
        model: in eval mode.
        pixels: pictures, (N, C, H, W) uint8 of the model's size, N at least 1.
        label: their classes, (N,) on the model's device, for a conditional model.
        batch_size: pictures at a time, 1 or more.
        watch: is told of the pictures done.

    Returns:
        Means and standard deviations on the CPU, float32 or wider; or codes, likewise.
    """
    images = _images(model, pixels, batch_size, watch)
    if isinstance(model, DiscreteLatents):
        return _codes(model, images)
    return _posteriors(model, images, None if label is None else label.split(batch_size))


def _images(model: LatentVariable, pixels: Tensor, batch_size: int, watch: Watch) -> Iterator[Tensor]:
    for start in range(0, len(pixels), batch_size):
        watch("pictures", start, len(pixels))
        yield model.known(scaled(pixels[start : start + batch_size].to(model.device)))


@torch.no_grad()
def _posteriors(model: GaussianLatents, images: Iterator[Tensor], labels: Sequence[Tensor] | None) -> Encoded:
    means, stds = [], []
    for i, image in enumerate(images):
        mean, log_var = model.infer(image, None if labels is None else labels[i])
        means.append(mean.cpu())
        stds.append((log_var / 2).exp().cpu())
    return Encoded(torch.cat(means), torch.cat(stds))


@torch.no_grad()
def _codes(model: DiscreteLatents, images: Iterator[Tensor]) -> EncodedCodes:
    found: dict[str, list[Tensor]] = {name: [] for name in model.sizes}
    for image in images:
        for name, index in model.by_level(model.tokens(image)).items():
            found[name].append(index.cpu())
    codes = {name: torch.cat(each) for name, each in found.items()}
    quantisers = model.quantisers()
    digits = {name: each.digits(codes[name].to(model.device)) for name, each in quantisers.items()}
    vectors = {name: each.vectors().cpu() for name, each in quantisers.items()}
    return EncodedCodes(codes, {name: each.cpu() for name, each in digits.items() if each is not None}, vectors)
