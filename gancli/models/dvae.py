"""The discrete VAE: Ramesh et al. 2021, Zero-Shot Text-to-Image Generation, section 2.1, with the Gumbel-softmax.

The encoder gives each position of a map the logits of K codes. While the autoencoder is trained, the decoder sees the
Gumbel-softmax relaxation of a draw (Jang et al. 2017, Categorical Reparameterization with Gumbel-Softmax; Maddison et
al. 2017), a vector near a corner of the simplex at low temperatures (``losses/dvae.py``). Reconstructions, bounds, the
prior and samples use the most likely code alone, so that every number that is reported is one of hard codes.

Deviations: the networks of ``vqvae.py`` in place of the authors' deeper ones; the likelihood is a part, by default
Bernoulli, where theirs is a logit-Laplace density (``likelihood@model.likelihood=logit_laplace``).

    gancli train model=dvae data=mnist
"""

from collections.abc import Callable
from typing import Annotated

import torch
from torch import Generator, Tensor

from gancli.data.spec import ImageSpec
from gancli.models.discrete import Begun, DiscreteLatents
from gancli.models.explicit import Explicit
from gancli.models.vqvae import check_sides, decoder, encoder
from gancli.nn.likelihoods import Likelihood, wide
from gancli.ranges import Extra, Units

LAST = 1 / 16  # the temperature at which training ends, see conf/loss/dvae.yaml


class DVAE(DiscreteLatents):
    """Convolutional networks with one of K codes per 4x4 pixels.

    Args:
        spec: shape, levels and classes of the images.
        likelihood: called with ``levels=`` to build the likelihood of pixels.
        prior: see DiscreteLatents.
        codes: number K of codes.
        width, blocks, residual: see VQVAE.
        conditional: see DiscreteLatents.
        autoencoder: share of the run in which the autoencoder is trained; the prior is trained in the rest.

    Raises:
        UsageError: a side of the images does not divide by 4, or what DiscreteLatents and LatentVariable refuse.
    """

    bf16_pays = True

    def __init__(
        self,
        spec: ImageSpec,
        likelihood: Callable[..., Likelihood],
        prior: Callable[..., Explicit],
        codes: Annotated[int, ">= 2", "<= 65536"] = 128,
        width: Units = 32,
        blocks: Extra = 2,
        residual: Units = 16,
        conditional: bool | None = None,
        autoencoder: Begun = 0.4,
    ) -> None:
        check_sides(spec, "DVAE")
        super().__init__(spec, likelihood, prior, (codes, spec.height // 4, spec.width // 4), conditional, autoencoder)
        self.encoder = encoder(spec.channels, width, blocks, residual, codes)
        self.decoder = decoder(codes, width, blocks, residual, self.likelihood.channels(spec.channels))

    def fit_data(self, pixels: Tensor) -> None:
        self.begin_at(pixels, self.decoder[-1])  # type: ignore[index]  # a Sequential, see above

    def logits(self, image: Tensor) -> Tensor:
        """Return the logits of q(z|x), (N, C, H, W) -> (N, K, h, w) float32 or wider."""
        return wide(self.encoder(image))

    def tokens(self, image: Tensor) -> Tensor:
        return self.logits(image).argmax(1)

    def relaxed_code(self, image: Tensor, generator: Generator) -> Tensor:
        """Return a draw at the last temperature of training, (N, K, h, w)."""
        return relaxed(self.logits(image), LAST, generator)

    def embed(self, index: Tensor) -> Tensor:
        codes = torch.arange(self.levels, device=index.device).view(-1, 1, 1)
        return (index.unsqueeze(1) == codes).to(self.uniform.total.dtype)

    def decode(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return self.decoder(z)


def relaxed(logits: Tensor, tau: Tensor | float, generator: Generator | None = None) -> Tensor:
    """Return softmax((logits + g) / tau) with Gumbel noise g over dimension 1 (Jang et al. 2017, eq. 2).

    (N, K, ...) -> the same. Its largest entry is a draw from softmax(logits), whatever the temperature.
    """
    u = torch.rand(logits.shape, dtype=logits.dtype, device=logits.device, generator=generator)
    # Away from 0 and 1, where the noise would be infinite.
    noise = -torch.log(-torch.log(u.clamp(torch.finfo(u.dtype).tiny, 1 - torch.finfo(u.dtype).eps)))
    return torch.softmax((logits + noise) / tau, 1)
