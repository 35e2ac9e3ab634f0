"""StyleGAN2: Karras et al. 2020, Analyzing and Improving the Image Quality of StyleGAN.

Styles modulate the weights of the synthesis network and every level adds to the image (gancli/nn/modulated.py). The
discriminator halves the image by filtered convolutions down to the seed, with residual blocks (the paper's section 4.1)
or without (the CIFAR-10 configuration of Karras et al. 2020, Training Generative Adversarial Networks with Limited
Data: ADA). Classes are those of ADA's release: normalised embeddings beside z and, in the discriminator, a projection.

The non-saturating loss, R1 every 16 updates of the discriminator and, for large images, path length regularisation
every 4 of the generator: ``generator_penalty=[path_length]``. Style mixing is ``mixing``. Adam with learning rate .0025
and betas (0, .99). All weights N(0, 1), scaled at run time (equalized learning rate).

Deviations: the seed has 4 to 7 pixels, not 4; a due penalty joins its update instead of having one of its own, so that
learning rate and betas need no correction for the additional updates (appendix B there); gradients that are not
finite end the run instead of becoming numbers; the discriminator's biases join after the gain of the leaky ReLU; its
network of labels has as many layers as the generator's mapping; samples are drawn with a constant noise.

    gancli train model=stylegan2 data=mnist data.size=32
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from gancli.data.spec import ImageSpec
from gancli.models.dcgan import stages
from gancli.models.style import StyleBased, StyleGenerator
from gancli.nn.equalized import SQRT2, EqualizedConv2d, EqualizedLinear
from gancli.nn.fir import DownConv2d
from gancli.nn.mapping import Mapping
from gancli.nn.minibatch_std import spread
from gancli.nn.modulated import Synthesis
from gancli.ranges import Depth, Share, Units

WIDEST = (
    64  # pixels up to which all levels have the full width; it halves with each doubling above (ADA's 32768 / side)
)


class StyleGAN2(StyleBased):
    """Style-based generator and discriminator for 8 to 128 pixels, any number of channels.

    Args:
        spec: shape and classes of the images.
        latent_dim: dimension of the latents z and of the styles w.
        width: channels of the levels up to 64 pixels; half of them at 128.
        mapping: dense layers of the mapping network.
        mixing: probability that a batch mixes two styles in training (.9 in the paper, 0 for CIFAR-10).
        residual: whether the discriminator's blocks are residual.
        minibatch_std: images per group whose spread the discriminator's last layers are told; 0: they are not.
        conditional: whether to condition on the class.

    Raises:
        UsageError: the image's size has no 4- to 7-pixel seed, or the data has no classes and ``conditional`` is set.
    """

    bf16_pays = True
    channels_last_pays = True

    def __init__(
        self,
        spec: ImageSpec,
        latent_dim: Units = 512,
        width: Units = 512,
        mapping: Depth = 8,
        mixing: Share = 0.0,
        residual: bool = True,
        minibatch_std: int = 4,
        conditional: bool = False,
    ) -> None:
        self.conditional = conditional
        super().__init__(spec, latent_dim, mixing)
        widths, seed = levels(spec, width)
        classes = spec.num_classes if conditional else 0
        synthesis = Synthesis(widths[::-1], seed, spec.channels, latent_dim)
        mapped = Mapping(latent_dim, latent_dim, mapping, classes=classes)
        self.generator = StyleGenerator(mapped, synthesis, synthesis.styles)
        labels = Mapping(0, width, mapping, classes=classes) if classes else None
        self.discriminator = Discriminator(spec.channels, widths, seed, residual, minibatch_std, labels)

    def score(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        return self.discriminator(image, label)


def levels(spec: ImageSpec, width: int) -> tuple[list[int], tuple[int, int]]:
    """Return the channels of each level, from the image inwards, and the seed's height and width.

    Raises:
        UsageError: see dcgan.stages().
    """
    count, side = stages(spec), min(spec.height, spec.width)
    return [max(1, width >> (side >> level > WIDEST)) for level in range(count + 1)], (
        spec.height >> count,
        spec.width >> count,
    )


class Halving(nn.Module):
    """Two 3x3 convolutions, the second of which halves the size; a residual block adds a filtered 1x1 convolution.

    (N, inputs, H, W) -> (N, outputs, H/2, W/2).
    """

    def __init__(self, inputs: int, outputs: int, *, residual: bool) -> None:
        super().__init__()
        self.conv, self.down = (
            EqualizedConv2d(inputs, inputs, 3, gain=SQRT2),
            DownConv2d(inputs, outputs, 3, gain=SQRT2),
        )
        self.bias = nn.Parameter(torch.zeros(outputs, 1, 1))
        self.skip = DownConv2d(inputs, outputs, 1) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        y = leaky_relu(self.down(leaky_relu(self.conv(x), 0.2)) + self.bias, 0.2)
        return y if self.skip is None else (y + self.skip(x)) / SQRT2  # so that the sum has unit variance, too


class Discriminator(nn.Module):
    """1x1 convolution, a Halving per stage, minibatch deviation, 3x3 convolution, dense layer, logit.

    Args:
        channels: channels of the image.
        widths: channels of each level, from the image inwards.
        seed: height and width of the last level.
        residual: see StyleGAN2.
        minibatch_std: see StyleGAN2.
        labels: maps labels to vectors of the last width, whose products with the features are logits; None: no labels.
    """

    def __init__(
        self,
        channels: int,
        widths: list[int],
        seed: tuple[int, int],
        residual: bool,
        minibatch_std: int,
        labels: Mapping | None,
    ) -> None:
        super().__init__()
        last, told = widths[-1], spread(minibatch_std)
        self.first = EqualizedConv2d(channels, widths[0], 1, gain=SQRT2)
        self.blocks = nn.Sequential(*(Halving(a, b, residual=residual) for a, b in pairwise(widths)), *told)
        self.conv = EqualizedConv2d(last + len(told), last, 3, gain=SQRT2)
        self.dense = EqualizedLinear(last * math.prod(seed), last, gain=SQRT2)
        self.labels, self.last = labels, EqualizedLinear(last, last if labels else 1)

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """(N, channels, H, W), (N,) or None -> (N,) logits."""
        x = leaky_relu(self.conv(self.blocks(leaky_relu(self.first(image), 0.2))), 0.2)
        x = self.last(leaky_relu(self.dense(x.flatten(1)), 0.2))
        if self.labels is None:
            return x.squeeze(1)
        return (x * self.labels(None, label)).sum(1) / math.sqrt(x.shape[1])
