"""The first GAN: Goodfellow et al. 2014, Generative Adversarial Networks (the MNIST nets of its code release).

Generator: 100 uniform latents of unit variance -> ReLU 1200 -> ReLU 1200 -> sigmoid pixels; weights U(-.05, .05); the
output bias is set to the logit of the training pixels' means. Discriminator: maxout 240x5 -> maxout 240x5 -> one logit;
weights U(-.005, .005). Dropout keeps 0.8 of its inputs and 0.5 of its hidden units, also in the generator's step.

Deviations: pixels cross gancli in [-1, 1] and are mapped to the paper's [0, 1] inside; the discriminator returns a
logit (the losses apply the sigmoid); colours and other sizes only change the number of pixels.

    gancli train model=mlp_gan data=mnist
"""

import math

import torch
from torch import Generator, Tensor, nn

from gancli.data.spec import ImageSpec
from gancli.models.base import Adversarial
from gancli.nn.dropout import Dropout
from gancli.nn.init import uniform_
from gancli.nn.maxout import Maxout
from gancli.ranges import Drop, Units


class MLPGAN(Adversarial):
    """Two fully connected networks, which treat an image as a vector.

    Args:
        spec: shape of the images.
        latent_dim: number of uniform latents.
        generator_hidden: units of each of the two ReLU layers.
        discriminator_hidden: units of each of the two maxout layers.
        pieces: linear filters per maxout unit.
        drop_input: fraction of the discriminator's inputs that dropout zeroes.
        drop_hidden: fraction of its hidden units that dropout zeroes.
    """

    bf16_pays = True

    def __init__(
        self,
        spec: ImageSpec,
        latent_dim: Units = 100,
        generator_hidden: Units = 1200,
        discriminator_hidden: Units = 240,
        pieces: Units = 5,
        drop_input: Drop = 0.2,
        drop_hidden: Drop = 0.5,
    ) -> None:
        super().__init__(spec)
        self.latent_dim = latent_dim
        pixels = math.prod(spec.shape)
        self.generator = nn.Sequential(
            nn.Linear(latent_dim, generator_hidden), nn.ReLU(),
            nn.Linear(generator_hidden, generator_hidden), nn.ReLU(),
            nn.Linear(generator_hidden, pixels),
        )  # fmt: skip
        self.discriminator = nn.Sequential(
            nn.Flatten(), Dropout(drop_input),
            Maxout(pixels, discriminator_hidden, pieces), Dropout(drop_hidden),
            Maxout(discriminator_hidden, discriminator_hidden, pieces), Dropout(drop_hidden),
            nn.Linear(discriminator_hidden, 1), nn.Flatten(0),
        )  # fmt: skip
        uniform_(self.generator, 0.05)
        uniform_(self.discriminator, 0.005)

    def fit_data(self, pixels: Tensor) -> None:
        """Start the generator at the mean image: set the output bias to the logit of each pixel's mean."""
        mean = (pixels.double().mean(0) / 255).clamp(1e-3, 1 - 1e-3)  # a pixel that is always black has no finite logit
        assert isinstance(self.generator, nn.Sequential)
        last = self.generator[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.bias.copy_(mean.logit().flatten())

    def latent(self, n: int, generator: Generator | None = None) -> Tensor:
        """Uniform on [-sqrt(3), sqrt(3)]: unit variance. (n, latent_dim)."""
        z = torch.rand(n, self.latent_dim, device=self.device, generator=generator)
        return (2 * z - 1) * math.sqrt(3)

    def generate(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        pixels = torch.sigmoid(self.generator(z))  # (N, C*H*W) in [0, 1]
        return (2 * pixels - 1).unflatten(1, self.spec.shape)

    def score(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        return self.discriminator((image + 1) / 2)
