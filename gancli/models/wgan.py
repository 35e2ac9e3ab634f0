"""WGAN: Arjovsky, Chintala & Bottou 2017, Wasserstein GAN.

The networks of DCGAN (section 4.1 and the authors' release), with the discriminator as a critic: its score is
unbounded, and only its slope is meaningful. Weights N(0, .02), 100 normal latents. Algorithm 1: critic weights clipped
to [-.01, .01], RMSProp with learning rate 5e-5, 5 critic updates per generator update. The release makes 100 critic
updates for each of the first 25 generator updates and for every 500th (loss.warmup=25 loss.warmup_every=500).

Deviations: weights are clipped after each critic update, as in algorithm 1 (the release clips before it); the critic's
output has no bias, since the Wasserstein loss does not depend on it.

    gancli train model=wgan data=mnist
"""

from torch import nn

from gancli.data.spec import ImageSpec
from gancli.models import dcgan
from gancli.models.base import NormalPrior
from gancli.nn.init import dcgan_
from gancli.ranges import Units


class WGAN(NormalPrior):
    """DCGAN's generator with normal latents, and its discriminator as a critic.

    Args:
        spec: shape of the images.
        latent_dim: number of normal latents.
        width: channels next to the image; they double with each stage away from it.
        minibatch_std: group size of the minibatch standard deviation; 0 disables it; see models/dcgan.py.
        hidden: units of a dense layer in both networks; see models/dcgan.py.

    Raises:
        UsageError: the image's size has no 4- to 7-pixel seed.
        ValueError: ``width`` is below 1, or ``hidden`` is negative.
    """

    bf16_pays = True

    def __init__(
        self,
        spec: ImageSpec,
        latent_dim: Units = 100,
        width: Units = 64,
        minibatch_std: int = 0,
        hidden: int | None = 0,
    ) -> None:
        super().__init__(spec, latent_dim)
        widths, seed = dcgan.pyramid(spec, width)
        units = dcgan.dense_units(hidden, spec, width)
        draw = dcgan.generator(latent_dim, widths[::-1], spec.channels, seed, units)
        self.generator = nn.Sequential(nn.Unflatten(1, (latent_dim, 1, 1)), *draw)
        self.discriminator = dcgan.discriminator(spec.channels, widths, seed, minibatch_std=minibatch_std, hidden=units)
        self.discriminator[-2].register_parameter("bias", None)
        dcgan_(self)
