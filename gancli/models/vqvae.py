"""The VQ-VAE: van den Oord et al. 2017, Neural Discrete Representation Learning, arXiv:1711.00937.

Encoder (section 4.1): two 4x4 convolutions of stride 2, two residual blocks (ReLU, 3x3, ReLU, 1x1), and a 1x1 to the
quantiser's dimensions; the decoder is its mirror image with transposed convolutions. How vectors become codes is a
part (``nn/quantisers.py``, ``nn/codebook.py``), and so is the prior; ``losses/vqvae.py`` trains both in one run.

Deviations: finite scalar quantisation in place of a codebook in the small recipe; the layers next to the image have
half the channels, and a 3x3 convolution comes before the encoder's blocks, as in the authors' code (Sonnet); the
encoder starts with He's initialisation, then its vectors and the codes are brought together (``Quantiser.fit``), so
that every code is used; the decoder starts at the mean colour and spread; the likelihood is normalised (Bernoulli,
discretised logistics), where the authors' code has a squared error, so that the sum with the prior's nats is a bound.

    gancli train model=vqvae data=mnist
    gancli train model=vqvae data=mnist quantiser@model.quantiser=vq prior@model.prior=pixelcnn
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gancli.data.spec import ImageSpec, scaled
from gancli.errors import UsageError
from gancli.models.discrete import Begun, DiscreteLatents
from gancli.models.explicit import Explicit
from gancli.nn.likelihoods import Likelihood
from gancli.nn.quantisers import Quantiser
from gancli.ranges import Extra, Units

FIT_IMAGES = 2048  # whose vectors and the codes are brought together


class Quantised(DiscreteLatents):
    """Codes of a quantiser between the two convolutional networks, encoder() and decoder()."""

    quantiser: Quantiser
    encoder: nn.Module
    decoder: nn.Module

    @torch.no_grad()
    def fit_codes(self, pixels: Tensor) -> None:
        """Bring codes and vectors of the untrained encoder together, see Quantiser.fit()."""
        z = self.encoder(scaled(pixels[:: -(-len(pixels) // FIT_IMAGES)]))
        self.quantiser.fit(z, self.encoder[-1])  # type: ignore[index]  # a Sequential, see encoder()

    def quantisers(self) -> dict[str, Quantiser]:
        return {"": self.quantiser}

    def tokens(self, image: Tensor) -> Tensor:
        return self.quantiser(self.encoder(image)).number

    def embed(self, index: Tensor) -> Tensor:
        return self.quantiser.lookup(index)

    def decode(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return self.decoder(z)


class VQVAE(Quantised):
    """Convolutional networks with a code per 4x4 pixels.

    Args:
        spec: shape, levels and classes of the images.
        likelihood: called with ``levels=`` to build the likelihood of pixels.
        quantiser: maps the encoder's vectors to codes.
        prior: see DiscreteLatents.
        width: channels of the inner layers; those next to the image have half as many.
        blocks: residual blocks of each network.
        residual: channels inside the blocks.
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
        quantiser: Quantiser,
        prior: Callable[..., Explicit],
        width: Units = 32,
        blocks: Extra = 2,
        residual: Units = 16,
        conditional: bool | None = None,
        autoencoder: Begun = 0.4,
    ) -> None:
        check_sides(spec, "VQVAE")
        codes = quantiser.levels, spec.height // 4, spec.width // 4
        super().__init__(spec, likelihood, prior, codes, conditional, autoencoder)
        self.quantiser = quantiser
        self.encoder = encoder(spec.channels, width, blocks, residual, quantiser.dim)
        self.decoder = decoder(quantiser.dim, width, blocks, residual, self.likelihood.channels(spec.channels))

    def fit_data(self, pixels: Tensor) -> None:
        self.begin_at(pixels, self.decoder[-1])  # type: ignore[index]  # a Sequential, see decoder()
        self.fit_codes(pixels)


def check_sides(spec: ImageSpec, name: str) -> None:
    """Refuse images that cannot be halved twice. Raises UsageError."""
    if spec.height % 4 or spec.width % 4:
        raise UsageError(f"{name} halves images twice, but {spec.size} does not divide by 4: set data.size to 28 or 32")


def encoder(channels: int, width: int, blocks: int, residual: int, outputs: int) -> nn.Sequential:
    """Return a network from images (N, channels, H, W) to (N, outputs, H / 4, W / 4)."""
    half = max(width // 2, 1)
    net = nn.Sequential(
        nn.Conv2d(channels, half, 4, 2, 1), nn.ReLU(),
        nn.Conv2d(half, width, 4, 2, 1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1),
        *(Residual(width, residual) for _ in range(blocks)),
        nn.ReLU(), nn.Conv2d(width, outputs, 1),
    )  # fmt: skip
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return net


def decoder(inputs: int, width: int, blocks: int, residual: int, outputs: int) -> nn.Sequential:
    """Return a network from (N, inputs, h, w) to (N, outputs, 4 h, 4 w)."""
    half = max(width // 2, 1)
    return nn.Sequential(
        nn.Conv2d(inputs, width, 3, padding=1),
        *(Residual(width, residual) for _ in range(blocks)),
        nn.ReLU(), nn.ConvTranspose2d(width, half, 4, 2, 1),
        nn.ReLU(), nn.ConvTranspose2d(half, outputs, 4, 2, 1),
    )  # fmt: skip


class Residual(nn.Module):
    """ReLU, 3x3, ReLU, 1x1, and the input."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(), nn.Conv2d(width, inner, 3, padding=1), nn.ReLU(), nn.Conv2d(inner, width, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)
