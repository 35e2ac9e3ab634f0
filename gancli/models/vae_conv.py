"""A convolutional variational autoencoder: Kingma & Welling 2014 with the strided layers of Radford et al. 2016.

Encoder: two 4x4 convolutions of stride 2, then a dense layer to mean and log variance. Decoder: its mirror image with
transposed convolutions. SiLU, no normalisation. The sizes are our own, for a CPU; no paper has these networks.

    gancli train model=vae_conv data=mnist
    gancli train model=vae_conv data=cifar10 data.binarise=null likelihood@model.likelihood=logistic
"""

from collections.abc import Callable

from torch import Tensor, nn

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.latent import GaussianLatents
from gancli.nn.labels import with_maps
from gancli.nn.likelihoods import Likelihood
from gancli.ranges import Units


class VAEConv(GaussianLatents):
    """Two convolutional networks.

    Args:
        spec: shape and levels of the images.
        likelihood: called with ``levels=`` to build the likelihood.
        latent_dim: number of latents.
        width: channels of the layers next to the image; the inner ones have twice as many.
        conditional: give encoder and decoder the class; for labelled data.

    Raises:
        UsageError: a side of the images does not divide by 4, or what LatentVariable refuses.
    """

    bf16_pays = True

    def __init__(
        self,
        spec: ImageSpec,
        likelihood: Callable[..., Likelihood],
        latent_dim: Units = 32,
        width: Units = 16,
        conditional: bool = False,
    ) -> None:
        super().__init__(spec, likelihood, latent_dim, conditional)
        if spec.height % 4 or spec.width % 4:
            raise UsageError(
                f"VAEConv halves images twice, but {spec.size} does not divide by 4: set data.size to "
                "28 or 32, or use model=vae"
            )
        inner = 2 * width, spec.height // 4, spec.width // 4
        dense = inner[0] * inner[1] * inner[2]
        self.encoder = nn.Sequential(
            nn.Conv2d(spec.channels + self.classes, width, 4, 2, 1), nn.SiLU(),
            nn.Conv2d(width, 2 * width, 4, 2, 1), nn.SiLU(),
            nn.Flatten(), nn.Linear(dense, 2 * latent_dim),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim + self.classes, dense), nn.SiLU(), nn.Unflatten(1, inner),
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1), nn.SiLU(),
            nn.ConvTranspose2d(width, self.likelihood.channels(spec.channels), 4, 2, 1),
        )  # fmt: skip

    def fit_data(self, pixels: Tensor) -> None:
        self.begin_at(pixels, self.decoder[-1])  # type: ignore[index]  # a Sequential, see above

    def features(self, image: Tensor, code: Tensor | None) -> Tensor:
        return self.encoder(image if code is None else with_maps(image, code))
