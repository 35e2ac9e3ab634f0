"""The two stages of a VQGAN: Esser et al. 2021, Taming Transformers for High-Resolution Image Synthesis, section 3.1.

The autoencoder minimises L_rec + lambda L_GAN and what the quantiser adds (eqs. 2 to 6). L_rec sums the L1 distance of
the pixels, their squared distance (eq. 4) and a distance of features; L_GAN is any adversarial loss of patches, and

    lambda = |grad L_rec| / (|grad L_GAN| + delta)    (eq. 7)

with gradients in the weights of the decoder's last layer, so that neither term drowns the other. The discriminator
joins at a share of the run (``model.joins``); until then its features are those of random convolutions. At last the
prior of the codes is trained, as that of a VQ-VAE. With the L1 distance alone, images that are mostly black teach the
decoder their median, black, from one code.

Deviations: the features are the discriminator's own, and no downloaded network's (LPIPS), but compared like those: unit
vectors at each position, squared distances, means over positions. Distances are sums over pixels, so that they are on
the footing of the quantiser's; lambda is that of means.

    gancli train model=vqgan data=mnist
    gancli train model=vqgan data=mnist loss/adversarial=nonsaturating penalty=r1 loss.gan=0.5
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from gancli.data.spec import Batch
from gancli.losses.autoencoder_game import AutoencoderGame
from gancli.losses.base import Moment, Phase, Term
from gancli.losses.game import AdversarialLoss
from gancli.losses.penalties import projection
from gancli.losses.vqvae import TwoStages
from gancli.models.base import Model
from gancli.models.vqgan import VQGAN
from gancli.nn.annealed import Annealed, value
from gancli.nn.likelihoods import wide
from gancli.nn.quantisers import perplexity, used
from gancli.ranges import Above

MOST = 1e4  # of lambda, as in the authors' code


class VQGANLoss(AutoencoderGame, TwoStages):
    """Train the autoencoder, soon against a discriminator, then the prior.

    Args:
        adversarial: see AutoencoderGame.
        l1: weight of the L1 distance of pixels in [-1, 1].
        squared: weight of their squared distance, that of eq. 4.
        features: weight of the distance of features.
        gan: factor on lambda, or the weight itself with ``adaptive=False``.
        adaptive: whether lambda follows the gradients.
        delta: of eq. 7.
        kwargs: see AutoencoderGame.
    """

    family = VQGAN

    def __init__(
        self,
        adversarial: Callable[..., AdversarialLoss],
        l1: float = 1.0,
        squared: float = 1.0,
        features: float = 0.1,
        gan: float | Annealed = 0.3,
        adaptive: bool = True,
        delta: Above = 1e-6,
        **kwargs: Any,
    ) -> None:
        super().__init__(adversarial, **kwargs)
        self.l1, self.squared, self.features = l1, squared, features
        self.gan, self.adaptive, self.delta = gan, adaptive, delta

    def phases(self, model: VQGAN) -> list[Phase]:
        learned = ("quantiser",) if any(True for _ in model.quantiser.parameters()) else ()
        first = Phase(
            "autoencoder", ("encoder", "decoder", *learned),
            (Term(self.autoencoder, eager=self.adaptive), *self.decoder_penalties()),
            after=self._after,
            statistics=lambda model: model.quantiser.statistics(),  # type: ignore[union-attr, operator]
        )  # fmt: skip
        autoencoder, *prior = self.stages(model, first)
        discriminator = self.discriminator()

        def playing(moment: Moment) -> int:
            return discriminator.updates(moment) if model.playing else 0

        return [autoencoder, discriminator._replace(repeat=playing), *prior]

    def autoencoder(self, model: VQGAN, batch: Batch) -> dict[str, Tensor]:
        image, z = batch.image, model.encoder(batch.image)
        found = model.quantiser(z)
        picture = model.decode(found.value)
        model.quantiser.observe(z, found)
        counts, pixels = used(found.number, model.levels), image[0].numel()
        told = {"perplexity": perplexity(counts), "codes_used": (counts > 0).float().mean()}
        off = wide(picture) - image
        terms = {
            "l1": pixels * self.l1 * off.abs().mean(), "squared": pixels * self.squared * off.square().mean(),
            **model.quantiser.penalties(z, found),
        }  # fmt: skip
        score, felt = self.judged(model, batch, picture)
        with torch.no_grad():
            wanted = model.judge(image)[1]
        terms["features"] = pixels * self.features * distance(felt, wanted)
        if not model.playing:
            return {**terms, **told}
        gan = {name: pixels * each for name, each in self.fooled(model, batch, score).items()}
        weight = value(self.gan, batch.progress)
        if self.adaptive:
            last = model.decoder[-1].weight  # type: ignore[index]  # a Sequential
            distances = terms["l1"] + terms["squared"] + terms["features"]
            told["lambda"] = adaptive_weight(distances, _sum(gan), last, self.delta)
            weight = weight * told["lambda"]
        return {**terms, **{name: weight * each if each.requires_grad else each for name, each in gan.items()}, **told}

    def drawn(self, model: VQGAN, batch: Batch) -> list[Tensor]:
        return [model.decode(model.quantiser(model.encoder(batch.image)).value)]

    def _after(self, model: Model) -> None:
        model.quantiser.update()  # type: ignore[union-attr, operator]
        if (project := projection(self.adversarial.generator_penalties, "decoder")) is not None:
            project(model)


def adaptive_weight(reconstruction: Tensor, gan: Tensor, last: Tensor, delta: float) -> Tensor:
    """Return lambda of eq. 7, (), at most MOST: gradients are those in the weights ``last``."""
    norms = [
        torch.linalg.vector_norm(torch.autograd.grad(each, last, retain_graph=True)[0])
        for each in (reconstruction, gan)
    ]
    return (norms[0] / (norms[1] + delta)).clamp(max=MOST)


def distance(felt: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Return the squared distance of unit feature vectors, a mean over images and positions, a sum over layers: ().

    Both are maps (N, C, H, W) of each layer, as in LPIPS (Zhang et al. 2018, eq. 1) with weights of 1.
    """
    each = [(_unit(a) - _unit(b)).square().sum(1).mean() for a, b in zip(felt, wanted, strict=True)]
    return torch.stack(each).sum()


def _unit(features: Tensor) -> Tensor:
    features = wide(features)
    return features / (features.square().sum(1, keepdim=True) + 1e-10).sqrt()


def _sum(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack([each for each in losses.values() if each.requires_grad]).sum()
