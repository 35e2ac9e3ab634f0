"""DCGAN: Radford, Metz & Chintala 2016, Unsupervised Representation Learning with Deep Convolutional GANs.

Section 3's rules: strided convolutions instead of pooling; batch norm in every layer except the generator's output and
the discriminator's input layer; ReLU, then tanh at the output, in the generator; leaky ReLU .2 in the discriminator; no
hidden dense layers. All weights N(0, .02), 100 uniform latents, Adam with learning rate 2e-4 and beta1 .5.

The paper uses one image size (64). Here each network has as many x2 stages as fit between the image and a seed of 4 to
7 pixels: 8 = 4*2, 28 = 7*4, 32 = 4*8, 64 = 4*16, 128 = 4*32; widths double per stage, as in the paper's Figure 1.
Deviation: 4x4 kernels, a multiple of the stride, as in the authors' Torch release (the Theano release has 5x5).

    gancli train model=dcgan data=mnist
"""

from typing import Literal

import torch
from torch import Generator, Tensor, nn

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.base import Adversarial
from gancli.nn.init import dcgan_
from gancli.nn.minibatch_std import spread
from gancli.ranges import Units


def stages(spec: ImageSpec) -> int:
    """Return the number of x2 stages between the image and the seed, whose shorter side has 4 to 7 pixels.

    Raises:
        UsageError: a side is not divisible that often, or the image is smaller than 8 or larger than 128 pixels.
    """
    sides = (spec.height, spec.width)
    count = (min(sides) // 4).bit_length() - 1
    if not all(8 <= side <= 128 and side % 2**count == 0 for side in sides):
        raise UsageError(
            f"this model cannot generate {spec.height}x{spec.width} images: a side must be 4 to 7 times a power of two "
            "and from 8 to 128; try data.size=32 or data.size=64"
        )
    return count


def pyramid(spec: ImageSpec, width: int) -> tuple[list[int], tuple[int, int]]:
    """Return the channels of each stage, from the image inwards, and the seed's height and width.

    Raises:
        UsageError: see stages().
        ValueError: ``width`` is below 1.
    """
    if width < 1:
        raise ValueError(f"width={width} must be 1 or more")
    count = stages(spec)
    return [width << i for i in range(count)], (spec.height >> count, spec.width >> count)


class DCGAN(Adversarial):
    """Convolutional generator and discriminator for 8 to 128 pixels, any number of channels.

    Args:
        spec: shape of the images.
        latent_dim: number of uniform latents.
        width: channels next to the image; they double with each stage away from it.
        minibatch_std: group size of the minibatch standard deviation before the discriminator's last layer (4 in
            Progressive GAN); 0 disables it.
        discriminator_norm: batch, or none for gradient penalties, which are per image, while batch norm makes each
            score depend on the whole batch.

    Raises:
        UsageError: the image's size has no 4- to 7-pixel seed.
        ValueError: ``width`` is below 1.
    """

    def __init__(
        self,
        spec: ImageSpec,
        latent_dim: Units = 100,
        width: Units = 64,
        discriminator_norm: Literal["batch", "none"] = "batch",
        minibatch_std: int = 0,
    ) -> None:
        super().__init__(spec)
        self.latent_dim = latent_dim
        widths, seed = pyramid(spec, width)
        self.generator = generator(latent_dim, widths[::-1], spec.channels, seed)
        norm = discriminator_norm == "batch"
        self.discriminator = discriminator(spec.channels, widths, seed, norm=norm, minibatch_std=minibatch_std)
        self.apply(dcgan_)

    def latent(self, n: int, generator: Generator | None = None) -> Tensor:
        """Uniform on [-1, 1]. (n, latent_dim, 1, 1)."""
        return torch.rand(n, self.latent_dim, 1, 1, device=self.device, generator=generator) * 2 - 1


def generator(latent_dim: int, widths: list[int], channels: int, seed: tuple[int, int]) -> nn.Sequential:
    """(N, latent_dim, 1, 1) -> (N, channels, H, W) in (-1, 1)."""
    # A 1x1 input makes this transposed convolution the paper's "project and reshape".
    layers = [nn.ConvTranspose2d(latent_dim, widths[0], seed, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()]
    for inner, outer in zip(widths, widths[1:]):
        layers += [nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=False), nn.BatchNorm2d(outer), nn.ReLU()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1), nn.Tanh())


def discriminator(
    channels: int, widths: list[int], seed: tuple[int, int], *, norm: bool = True, minibatch_std: int = 0
) -> nn.Sequential:
    """(N, channels, H, W) in [-1, 1] -> (N,) logits; ``norm``: use batch norm in all layers but the first."""
    layers = [nn.Conv2d(channels, widths[0], 4, 2, 1), nn.LeakyReLU(0.2)]
    for outer, inner in zip(widths, widths[1:]):
        layers.append(nn.Conv2d(outer, inner, 4, 2, 1, bias=not norm))
        layers += [nn.BatchNorm2d(inner), nn.LeakyReLU(0.2)] if norm else [nn.LeakyReLU(0.2)]
    told = spread(minibatch_std)
    return nn.Sequential(*layers, *told, nn.Conv2d(widths[-1] + len(told), 1, seed), nn.Flatten(0))
