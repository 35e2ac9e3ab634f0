"""VAE/GAN's loss: Larsen et al. 2016, Autoencoding beyond pixels using a learned similarity measure, algorithm 1.

Each network has a phase, and learns from its own part of L_prior + L_like + L_GAN:

- encoder: L_prior = KL(q(z|x) || p(z)), and L_like = |Dis_l(x) - Dis_l(decoder(z))|^2 / 2, z ~ q(z|x), which is
  -log p(Dis_l(x)|z) up to a constant; both in nats per image, sums over latents and features.
- decoder: gamma L_like, and the generator's half of any adversarial loss for reconstructions and for pictures of the
  prior. ``gamma`` is small, for L_like sums thousands of features.
- discriminator: the other half. L_like does not reach it: features would vanish.

Reconstructions and pictures of the prior together weigh as much as real images, as in the authors' code.

Deviations: the networks are updated one after the other, each with codes and noise of its own; no update is skipped by
the size of the losses, as in the authors' code, for that would wait for the device.

    gancli train model=vae_gan data=mnist
    gancli train model=vae_gan data=mnist loss/adversarial=hinge penalty=r1 model.discriminator_norm=none
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gancli.data.spec import Batch
from gancli.losses.autoencoder_game import AutoencoderGame
from gancli.losses.base import Phase, Term
from gancli.losses.elbo import of_latents
from gancli.losses.game import AdversarialLoss
from gancli.losses.penalties import projection
from gancli.models.vae_gan import VAEGAN
from gancli.nn.annealed import Annealed, value
from gancli.nn.likelihoods import wide


class VAEGANLoss(AutoencoderGame):
    """Train encoder, decoder and discriminator, each by its own losses.

    Args:
        adversarial: see AutoencoderGame.
        gamma: weight of L_like for the decoder.
        beta: weight of L_prior; 1 in the paper.
        kwargs: see AutoencoderGame.
    """

    family = VAEGAN

    def __init__(
        self,
        adversarial: Callable[..., AdversarialLoss],
        gamma: float | Annealed = 1e-3,
        beta: float | Annealed = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(adversarial, **kwargs)
        self.gamma, self.beta = gamma, beta

    def phases(self, model: VAEGAN) -> list[Phase]:
        after = projection(self.adversarial.generator_penalties, "decoder")
        return [
            Phase("encoder", ("encoder",), (Term(self.encoder_term),)),
            Phase("decoder", ("decoder",), (Term(self.decoder_term), *self.decoder_penalties()), after=after),
            self.discriminator(),
        ]

    def encoder_term(self, model: VAEGAN, batch: Batch) -> dict[str, Tensor]:
        posterior = model.encode(batch.image)
        kl, felt = posterior.cost.mean(), model.judge(model.decode(posterior.z))[1]
        weighted = value(self.beta, batch.progress) * kl
        return {"features": unlikeness(felt, wanted(model, batch)), "weighted_kl": weighted, "kl": kl.detach()}

    def decoder_term(self, model: VAEGAN, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            z = model.encode(batch.image).z
        reconstructed, felt = self.judged(model, batch, model.decode(z))
        drawn, _ = self.judged(model, batch, model.decode(model.prior(len(batch.image))))
        features = value(self.gamma, batch.progress) * unlikeness(felt, wanted(model, batch))
        return {"weighted_features": features, **self.fooled(model, batch, reconstructed, drawn)}

    def drawn(self, model: VAEGAN, batch: Batch) -> list[Tensor]:
        return [model.decode(model.encode(batch.image).z), model.decode(model.prior(len(batch.image)))]

    def measurements(self, model: VAEGAN, batch: Batch) -> dict[str, Callable[[], Tensor]]:
        """Return the KL, that of each latent, and the number of active ones."""
        return of_latents(model, batch)


@torch.no_grad()
def wanted(model: VAEGAN, batch: Batch) -> list[Tensor]:
    """Return the features of the images themselves."""
    return model.judge(batch.image)[1]


def unlikeness(felt: list[Tensor], wanted: list[Tensor]) -> Tensor:
    """Return half the squared distance of features, a sum over all of them, a mean over images: ()."""
    each = [(wide(a) - wide(b)).flatten(1).square().sum(1) for a, b in zip(felt, wanted, strict=True)]
    return torch.stack(each).sum(0).mean() / 2
