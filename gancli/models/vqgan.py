"""The VQGAN: Esser et al. 2021, Taming Transformers for High-Resolution Image Synthesis, section 3.1; small.

A VQ-VAE whose decoder draws pictures that a discriminator of patches judges, in place of parameters of a likelihood: no
number of it bounds log p(x). The prior of the codes, the second stage of the run, is that of ``vqvae.py``, whose nats
are those of the codes alone.

The decoder ends without an activation, as in the authors' code: under a tanh, images that are mostly black teach it to
draw black, where its gradient is zero.

Deviations: the networks of the VQ-VAE in place of deeper ones with attention; finite scalar quantisation in the small
recipe; an autoregressive network of convolutions for the transformer; the discriminator of pix2pix and CycleGAN, whose
patches shrink with the image; ``losses/vqgan.py`` says what its features replace.

    gancli train model=vqgan data=mnist
    gancli train model=vqgan data=cifar10 quantiser@model.quantiser=vq
"""

from collections.abc import Callable, Hashable
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.discrete import Begun
from gancli.models.explicit import Explicit
from gancli.models.pix2pix import norm
from gancli.models.vqvae import Quantised, check_sides, decoder, encoder
from gancli.nn.init import dcgan_
from gancli.nn.patchgan import layers_for, patchgan
from gancli.nn.quantisers import Quantiser
from gancli.ranges import Above, Extra, Units


class VQGAN(Quantised):
    """An autoencoder with a code per 4x4 pixels, and a discriminator of patches.

    Args:
        spec: shape, levels and classes of the images.
        quantiser: maps the encoder's vectors to codes.
        prior: see DiscreteLatents.
        width, blocks, residual: see VQVAE.
        discriminator_width: channels of the discriminator's first layer.
        discriminator_layers: 1 to 4, for patches of 16, 34, 70 or 142 pixels; None: see layers_for().
        discriminator_norm: batch; or none, for penalties on the slope at each image.
        joins: share of the run from which the discriminator is trained and the decoder plays against it; its features
            count from the start.
        conditional: see DiscreteLatents.
        autoencoder: share of the run in which the autoencoder is trained; the prior is trained in the rest.

    Raises:
        UsageError: a side of the images does not divide by 4, the discriminator would never join, or what
            DiscreteLatents and LatentVariable refuse.
    """

    bf16_pays = True
    bounded = False

    def __init__(
        self,
        spec: ImageSpec,
        quantiser: Quantiser,
        prior: Callable[..., Explicit],
        width: Units = 32,
        blocks: Extra = 2,
        residual: Units = 16,
        discriminator_width: Units = 16,
        discriminator_layers: Annotated[int, ">= 1", "<= 4"] | None = None,
        discriminator_norm: Literal["batch", "none"] = "batch",
        joins: Annotated[float, ">= 0", "< 1"] = 0.1,
        conditional: bool | None = None,
        autoencoder: Begun = 0.4,
    ) -> None:
        check_sides(spec, "VQGAN")
        codes = quantiser.levels, spec.height // 4, spec.width // 4
        super().__init__(spec, None, prior, codes, conditional, autoencoder)
        if self.learns_prior and joins >= autoencoder:
            raise UsageError(
                f"model.joins={joins}: the discriminator would never join, for the prior is trained from "
                f"model.autoencoder={autoencoder} on: set model.joins to less"
            )
        self.quantiser, self.joins = quantiser, joins
        self.encoder = encoder(spec.channels, width, blocks, residual, quantiser.dim)
        self.decoder = decoder(quantiser.dim, width, blocks, residual, spec.channels)
        layers = discriminator_layers or layers_for(min(spec.height, spec.width))
        normed = norm if discriminator_norm == "batch" else lambda channels: nn.Identity()
        self.discriminator = patchgan(spec.channels, discriminator_width, layers, normed).apply(dcgan_)
        self.playing = False  # whether the discriminator has joined

    def stage(self, share: float) -> Hashable:
        return super().stage(share), share >= self.joins

    def enter(self, stage: Hashable) -> None:
        assert isinstance(stage, tuple)
        super().enter(stage[0])
        self.playing = stage[1] and not self.learned

    def set_sampling(  # type: ignore[override]  # it draws no pixels
        self, temperature: Above = 1.0, sampler: str | None = None
    ) -> None:
        """Set the options of sample(), those of the codes.

        Args:
            temperature: see DiscreteLatents.
            sampler: see DiscreteLatents.

        Raises:
            UsageError: see DiscreteLatents.
        """
        super().set_sampling("mean", temperature, sampler)

    @torch.no_grad()
    def fit_data(self, pixels: Tensor) -> None:
        mean = pixels.double().mean((0, 2, 3)) / 127.5 - 1
        self.decoder[-1].bias.copy_(mean)  # type: ignore[index]  # a Sequential, see decoder()
        self.fit_codes(pixels)

    def picture(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Return the pictures of codes, (N, C, H, W), cut to [-1, 1]; in training they are not."""
        return self.decode(z, label).clamp(-1, 1)

    def judge(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return one logit per patch, (N, 1, H', W'), and the features after each activation, (N, C, h, w) each."""
        features: list[Tensor] = []
        for layer in self.discriminator:
            image = layer(image)
            if isinstance(layer, nn.LeakyReLU):
                features.append(image)
        return image, features
