"""f-GAN: Nowozin, Cseke & Tomioka 2016, Training Generative Neural Samplers using Variational Divergence Minimization.

The paper's MNIST nets. Generator: 100 uniform latents -> 1200 -> 1200, each with batch norm and ReLU, -> sigmoid
pixels. Variational function: 240 -> 240, each with ELU, -> one number, which the loss maps into the divergence's
domain. Adam with learning rate 2e-4. The divergence is
loss.divergence=kl|reverse_kl|pearson|squared_hellinger|jensen_shannon|gan.

Deviations: pixels cross gancli in [-1, 1] and are mapped to [0, 1] inside; the initialisation is PyTorch's default;
batches have 64 images; and the loss is that of section 3.2 (loss.generator=literal is the original objective).

    gancli train model=fgan data=mnist loss.divergence=kl
"""

import math

import torch
from torch import Generator, Tensor, nn

from gancli.data.spec import ImageSpec
from gancli.models.base import Adversarial
from gancli.ranges import Units


class FGANNets(Adversarial):
    """Two fully connected networks.

    Args:
        spec: shape of the images.
        latent_dim: number of uniform latents.
        generator_hidden: units of each of the generator's two hidden layers.
        discriminator_hidden: units of each of the variational function's two hidden layers.
    """

    def __init__(
        self,
        spec: ImageSpec,
        latent_dim: Units = 100,
        generator_hidden: Units = 1200,
        discriminator_hidden: Units = 240,
    ) -> None:
        super().__init__(spec)
        self.latent_dim, pixels, hidden = latent_dim, math.prod(spec.shape), generator_hidden
        self.generator = nn.Sequential(
            nn.Linear(latent_dim, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(),
            nn.Linear(hidden, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(),
            nn.Linear(hidden, pixels), nn.Sigmoid(), nn.Unflatten(1, spec.shape),
        )  # fmt: skip
        self.discriminator = nn.Sequential(
            nn.Flatten(), nn.Linear(pixels, discriminator_hidden), nn.ELU(),
            nn.Linear(discriminator_hidden, discriminator_hidden), nn.ELU(),
            nn.Linear(discriminator_hidden, 1), nn.Flatten(0),
        )  # fmt: skip

    def latent(self, n: int, generator: Generator | None = None) -> Tensor:
        """Uniform on [-1, 1]. (n, latent_dim)."""
        return torch.rand(n, self.latent_dim, device=self.device, generator=generator) * 2 - 1

    def generate(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return 2 * self.generator(z) - 1

    def score(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        return self.discriminator((image + 1) / 2)
