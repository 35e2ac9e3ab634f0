"""Conditional DCGAN: the class-conditional MNIST nets released with Radford, Metz & Chintala 2016.

The one-hot label enters every layer of both networks: it is appended to the units of dense layers, and as constant maps
to the inputs of convolutions. Generator: latents -> dense 1024 -> dense to the seed -> 5x5 transposed convolutions of
stride 2, batch norm and ReLU between them, sigmoid. Discriminator: 5x5 convolutions of stride 2, a dense layer of 1024,
one logit; leaky ReLU .2, batch norm in all layers except the first and the last. Weights N(0, .02), 100 uniform
latents, batches of 128, Adam with beta1 .5 and learning rate 2e-4, which falls linearly to 0 in the second half of the
run (100 of 200 epochs). Generated images have the classes of the training batch.

Deviations: as many x2 stages as DCGAN has at that size (the release has two, for 28 pixels); tanh and pixels in [-1, 1]
in place of a sigmoid; both networks are updated on every batch instead of alternately; no weight decay (the release's
L2 of 2.5e-5 is optimizer.weight_decay=2.5e-5).

    gancli train model=cdcgan data=mnist
"""

import math

import torch
from torch import Generator, Tensor, nn

from gancli.data.spec import ImageSpec
from gancli.models.base import Adversarial
from gancli.models.dcgan import pyramid
from gancli.nn.init import dcgan_
from gancli.nn.labels import one_hot, with_maps
from gancli.ranges import Units


class CDCGAN(Adversarial):
    """Convolutional networks for 8 to 128 pixels that feed the label to every layer.

    Args:
        spec: shape and classes of the images.
        latent_dim: number of uniform latents.
        width: channels next to the image; they double with each stage away from it.
        hidden: units of the dense layers.

    Raises:
        UsageError: the data has no classes, or the image's size has no 4- to 7-pixel seed.
    """

    bf16_pays = True
    conditional = True

    def __init__(self, spec: ImageSpec, latent_dim: Units = 100, width: Units = 64, hidden: Units = 1024) -> None:
        super().__init__(spec)
        self.latent_dim = latent_dim
        widths, seed = pyramid(spec, width)
        self.generator = Labelled(spec.num_classes, generator(spec, latent_dim, hidden, widths[::-1], seed))
        self.discriminator = Labelled(spec.num_classes, discriminator(spec, hidden, widths, seed))
        dcgan_(self)

    def latent(self, n: int, generator: Generator | None = None) -> Tensor:
        """Uniform on [-1, 1]. (n, latent_dim)."""
        return torch.rand(n, self.latent_dim, device=self.device, generator=generator) * 2 - 1

    def score(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        return self.discriminator(image, label).squeeze(1)


class Labelled(nn.Module):
    """Layers in sequence; the label is appended to each one's input, as constant maps if the input is a map."""

    def __init__(self, classes: int, layers: list[nn.Module]) -> None:
        super().__init__()
        self.classes, self.layers = classes, nn.ModuleList(layers)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        code = one_hot(label, self.classes)
        for layer in self.layers:
            x = layer(with_maps(x, code) if x.ndim == 4 else torch.cat([x, code], 1))
        return x


def generator(
    spec: ImageSpec, latent_dim: int, hidden: int, widths: list[int], seed: tuple[int, int]
) -> list[nn.Module]:
    """(N, latent_dim) -> (N, channels, H, W) in (-1, 1); Labelled adds the label's inputs."""
    k, start = spec.num_classes, (widths[0], *seed)
    layers = [
        nn.Sequential(nn.Linear(latent_dim + k, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU()),
        nn.Sequential(
            nn.Linear(hidden + k, math.prod(start), bias=False),
            nn.BatchNorm1d(math.prod(start)),
            nn.ReLU(),
            nn.Unflatten(1, start),
        ),
    ]
    for inner, outer in zip(widths, widths[1:]):
        up = nn.ConvTranspose2d(inner + k, outer, 5, 2, 2, 1, bias=False)
        layers.append(nn.Sequential(up, nn.BatchNorm2d(outer), nn.ReLU()))
    return [*layers, nn.Sequential(nn.ConvTranspose2d(widths[-1] + k, spec.channels, 5, 2, 2, 1), nn.Tanh())]


def discriminator(spec: ImageSpec, hidden: int, widths: list[int], seed: tuple[int, int]) -> list[nn.Module]:
    """(N, channels, H, W) in [-1, 1] -> (N, 1) logits; Labelled adds the label's inputs."""
    k, leaky = spec.num_classes, nn.LeakyReLU(0.2)
    layers = [nn.Sequential(nn.Conv2d(spec.channels + k, widths[0], 5, 2, 2), leaky)]
    for outer, inner in zip(widths, widths[1:]):
        down = nn.Conv2d(outer + k, inner, 5, 2, 2, bias=False)
        layers.append(nn.Sequential(down, nn.BatchNorm2d(inner), leaky))
    layers[-1].append(nn.Flatten())
    dense = nn.Linear(widths[-1] * math.prod(seed) + k, hidden, bias=False)
    return [*layers, nn.Sequential(dense, nn.BatchNorm1d(hidden), leaky), nn.Linear(hidden + k, 1)]
