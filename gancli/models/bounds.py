"""What a latent-variable model says of held-out images: bounds of log p(x), latents, reconstructions, their errors."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor

from gancli.data.spec import dequantised
from gancli.models.held_out import Answer, HeldOut, nothing
from gancli.nn.likelihoods import wide

if TYPE_CHECKING:
    from gancli.models.latent import LatentVariable

ROWS = 4096  # codes that are decoded at a time


def chunks(k: int, n: int) -> list[int]:
    """Return how many of k codes of each of n images are decoded at a time."""
    chunk = max(1, ROWS // n)
    return [min(chunk, k - start) for start in range(0, k, chunk)]


def said_by(model: "LatentVariable") -> HeldOut:
    """Return the bounds of a model, if there are any, and the reconstructions.

    Every answer has random numbers of its own, from a fixed seed, and dequantised data the same noise as for other
    models.
    """
    levels, k = model.spec.levels, model.k

    def one(image: Tensor, label: Tensor | None, codes: Generator) -> None:
        model.skip_codes(image, label, 1, codes)

    def several(image: Tensor, label: Tensor | None, codes: Generator) -> None:
        for each in chunks(k, len(image)) if k > 1 else (1,):
            model.skip_codes(image, label, each, codes)

    pictures = _seeded(model, lambda image, label, codes: model.picture(model.code(image, label), label))
    also = {"pictures": pictures, "errors": _seeded(model, partial(_errors, model))}
    if model.bounded:
        also["elbo"] = _seeded(model, model.parts, one)
    if model.bounded and not model.certain:
        also["iwae"] = _seeded(model, lambda image, label, codes: model.bound(image, label, k, codes), several)
    if model.groups:

        def latents(image: Tensor, label: Tensor | None, codes: Generator) -> Tensor:
            return model.encode(image, label, 1, codes).stats["mean"]

        also["latents"] = _seeded(model, latents, one)
    spread = levels if model.spec.dequantised else 0
    if not model.bounded:
        return HeldOut(None, "none", levels, spread, also=also)
    nats = _seeded(model, lambda image, label, codes: -model.bound(image, label, 1, codes), one)
    return HeldOut(nats, "bound", levels, spread, f"ELBO of one code per image; iwae: k={k}", also, k)


def _seeded(
    model: "LatentVariable", ask: Callable[[Tensor, Tensor | None, Generator], Tensor],
    skip: Callable[[Tensor, Tensor | None, Generator], None] = nothing,
) -> Answer:  # fmt: skip
    """Return an answer whose codes and noise are drawn from generators of its own."""
    codes, noise = (Generator(model.device).manual_seed(0) for _ in range(2))

    def answer(image: Tensor, label: Tensor | None, by: Callable[..., Any] = ask) -> Any:
        image = dequantised(image, model.spec.levels, noise) if model.spec.dequantised else image
        return by(image, label if model.conditional else None, codes)

    return Answer(answer, partial(answer, by=skip), [codes, noise])


def _errors(model: "LatentVariable", image: Tensor, label: Tensor | None, codes: Generator) -> Tensor:
    """Return the mean absolute error of the reconstruction in [-1, 1], and its PSNR in decibels: (N, 2)."""
    off = wide(model.picture(model.code(image, label), label) - image).flatten(1)
    mse = (off / 2).square().mean(1).clamp(min=1e-10)  # of pixels in [0, 1]
    return torch.stack([off.abs().mean(1), -10 * mse.log10()], 1)
