"""VAE/GAN: Larsen et al. 2016, Autoencoding beyond pixels using a learned similarity measure, arXiv:1512.09300; small.

A variational autoencoder whose decoder is also the generator of a GAN, and whose error is that of the discriminator's
features: p(Dis_l(x) | z) = N(Dis_l(decoder(z)), I) (eq. 7). That is no likelihood of pixels, so no number of this model
bounds log p(x). ``losses/vae_gan.py`` says which network learns from what.

The networks are those of DCGAN; the encoder is a discriminator with a mean and a log variance for each latent. Features
are those of the discriminator's last strided layer.

Deviations: DCGAN's 4x4 kernels and widths, half as large as there, for 5x5 kernels and widths that differ by network;
features after batch norm and activation, where the authors' code takes them before: DCGAN's first weights are so small
that their error would be next to nothing beside the KL, and all latents collapse; Adam for RMSprop.

    gancli train model=vae_gan data=mnist
"""

from typing import Literal

from torch import Tensor, nn

from gancli.data.spec import ImageSpec
from gancli.models.dcgan import dense_units, discriminator, generator, pyramid
from gancli.models.latent import GaussianLatents
from gancli.nn.init import dcgan_
from gancli.ranges import Units


class VAEGAN(GaussianLatents):
    """Three convolutional networks for 8 to 128 pixels, any number of channels.

    Args:
        spec: shape of the images.
        latent_dim: number of normal latents.
        width: channels next to the image; they double with each stage away from it.
        discriminator_norm: batch; or none, for penalties on the slope at each image.
        hidden: units of a dense layer next to the seed of all networks; 0: none; None: see dcgan.dense_units().

    Raises:
        UsageError: the image's size has no 4- to 7-pixel seed.
        ValueError: ``hidden`` is negative.
    """

    bf16_pays = True
    bounded = False

    def __init__(
        self,
        spec: ImageSpec,
        latent_dim: Units = 64,
        width: Units = 32,
        discriminator_norm: Literal["batch", "none"] = "batch",
        hidden: int | None = None,
    ) -> None:
        super().__init__(spec, None, latent_dim)
        widths, seed = pyramid(spec, width)
        units = dense_units(hidden, spec, width)
        self.encoder = discriminator(spec.channels, widths, seed, hidden=units, outputs=2 * latent_dim)
        self.decoder = generator(latent_dim, widths[::-1], spec.channels, seed, units)
        self.discriminator = discriminator(
            spec.channels, widths, seed, norm=discriminator_norm == "batch", hidden=units
        )
        layers = list(self.discriminator)
        last = max(i for i, each in enumerate(layers) if isinstance(each, nn.Conv2d) and each.stride == (2, 2))
        self.depth = 1 + next(i for i in range(last, len(layers)) if isinstance(layers[i], nn.LeakyReLU))
        self.apply(dcgan_)

    def set_sampling(self) -> None:  # type: ignore[override]  # it draws no pixels, and there is no bound of k codes
        """There are no options."""

    def features(self, image: Tensor, code: Tensor | None) -> Tensor:
        return self.encoder(image)

    def decode(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return self.decoder(z[:, :, None, None])

    def judge(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the discriminator's logits, (N,), and its features, one map (N, C, h, w)."""
        features = self.discriminator[: self.depth](image)
        return self.discriminator[self.depth :](features), [features]
