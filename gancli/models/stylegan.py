"""StyleGAN: Karras, Laine & Aila 2019, A Style-Based Generator Architecture for Generative Adversarial Networks.

A mapping network turns latents into styles; the synthesis network starts from a constant, and after every convolution
adds noise, a bias and a leaky ReLU, normalises each channel of each image, and gives it the scale and the shift of the
layer's style (AdaIN, eq. 1; gancli/nn/adain.py). There are two layers, and so two styles, per level. Networks grow
as in Progressive GAN, from 8 pixels on; enlarged and halved features are blurred (section 2, Table 1 B).

The discriminator is Progressive GAN's, with features halved before the activation, as in the release. Non-saturating
loss with R1, gamma 10, at every update (Table 1 D and appendix C); style mixing of 90 % of the batches (section 3.1);
Adam with learning rate 1e-3 and betas (0, .99).

Deviations: seeds of 4 to 7 pixels, as many levels as DCGAN has stages; one batch size for all levels; samples are drawn
with a constant noise; truncation computes the mean style instead of tracking it (models/style.py); a batch mixes its
styles or does not as one. For short runs the small recipe begins with a constant of noise, mixes no styles
and learns at eight times the rate.

    gancli train model=stylegan data=mnist
"""

from typing import Literal

import torch
from torch import Tensor, nn

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.growing import GrowingGAN, GrowingGenerator, Growth, double, level_widths
from gancli.models.progan import ProGANDiscriminator
from gancli.models.style import StyleBased, StyleGenerator
from gancli.nn.adain import Blur, Epilogue
from gancli.nn.equalized import SQRT2, EqualizedConv2d
from gancli.nn.mapping import Mapping
from gancli.ranges import Depth, Share, Units

Constant = Literal["ones", "normal"]  # what the learned input of the synthesis network is before training


class StyleGAN(GrowingGAN, StyleBased):
    """Style-based generator and Progressive GAN's discriminator for 8 to 128 pixels, growing or not.

    Args:
        spec: shape of the images.
        latent_dim: dimension of the latents z and of the styles w.
        width: channels next to the image; they double with each level away from it.
        max_width: the most channels.
        mapping: dense layers of the mapping network.
        mixing: probability that a batch mixes two styles in training.
        minibatch_std: images per group of the minibatch standard deviation; 0: without.
        grown: share of the run after which the networks are complete; 0: they are from the start, and have no layers
            for smaller images.
        start: pixels of the shorter side of the level that growth begins with, at least.
        constant: what the learned constant is at first: ones, as in the release, or normal noise, as in StyleGAN2.

    Raises:
        UsageError: the image's size has no 4- to 7-pixel seed, or it is smaller than the level to start with.
        ValueError: ``width`` is below 1, or ``minibatch_std`` is negative.
    """

    bf16_pays = True
    channels_last_pays = True

    def __init__(
        self,
        spec: ImageSpec,
        latent_dim: Units = 512,
        width: Units = 512,
        max_width: Units = 512,
        mapping: Depth = 8,
        mixing: Share = 0.9,
        minibatch_std: int = 4,
        grown: Share = 0.096,
        start: Units = 8,
        constant: Constant = "ones",
    ) -> None:
        super().__init__(spec, latent_dim, mixing)
        widths, seed = level_widths(spec, width, max_width)
        small = sum(min(seed) << level < start for level in range(len(widths)))
        if grown and small == len(widths):
            raise UsageError(
                f"start={start}: growth cannot begin above the image's {min(spec.height, spec.width)} pixels; use "
                f"start={min(seed)}, or grown=0"
            )
        self.growth = Growth(len(widths), grown, small)
        first = self.growth.first
        synthesis = Synthesis(spec.channels, latent_dim, widths, seed, first, constant=constant)
        mapped = Mapping(latent_dim, latent_dim, mapping)
        self.generator = StyleGenerator(mapped, synthesis, 2 * len(widths))
        self.discriminator = ProGANDiscriminator(
            spec.channels, widths, seed, first, minibatch_std=minibatch_std, blur=True
        )

    @property
    def grower(self) -> GrowingGenerator:
        assert isinstance(self.generator.synthesis, Synthesis)
        return self.generator.synthesis

    @property
    def styles(self) -> int:
        """The number of styles of the levels in use, among which mixing has its cutoff."""
        return 2 * (self.grower.stage.level + 1)

    def images_by_level(self, z: Tensor) -> list[Tensor]:
        return self.grower.by_level(self.style(z))


class Synthesis(GrowingGenerator):
    """(N, styles, style_dim) -> (N, channels, H, W) without bounds; styles beyond those of the level are not used.

    Args:
        channels: of the images.
        style_dim: dimension of a style.
        widths: channels of each level, from the smallest.
        seed: height and width of the smallest level.
        first: the level that training begins with.
        constant: see StyleGAN.
    """

    def __init__(
        self,
        channels: int,
        style_dim: int,
        widths: list[int],
        seed: tuple[int, int],
        first: int = 0,
        *,
        constant: Constant = "ones",
    ) -> None:
        super().__init__(channels, widths, first)
        # Instance norm divides ones by their deviation, which is none: the features of the first layer then turn as a
        # whole with each update, until the constant has moved by far more than an update moves it.
        self.constant = nn.Parameter((torch.ones if constant == "ones" else torch.randn)(widths[0], *seed))
        self.blocks = nn.ModuleList(
            Level(widths[max(i - 1, 0)], outer, style_dim, (seed[0] << i, seed[1] << i), up=i > 0)
            for i, outer in enumerate(widths)
        )

    def features(self, x: Tensor) -> list[Tensor]:  # (N, styles, style_dim) -> [(N, width, H, W)]
        found = [self.constant.expand(len(x), -1, -1, -1)]
        for i, block in enumerate(list(self.blocks)[: self.stage.level + 1]):
            found.append(block(found[-1], x[:, 2 * i], x[:, 2 * i + 1]))
        return found[1:]


class Level(nn.Module):
    """Two layers of a level: the first doubles the size of the level before, or is its constant.

    Args:
        inputs: channels of the level before.
        outputs: channels.
        style_dim: dimension of a style.
        side: height and width.
        up: whether there is a level before.
    """

    def __init__(self, inputs: int, outputs: int, style_dim: int, side: tuple[int, int], *, up: bool) -> None:
        super().__init__()
        self.up = nn.Sequential(_conv(inputs, outputs), Blur()) if up else None
        self.conv = _conv(outputs, outputs)
        self.first, self.second = (Epilogue(outputs, style_dim, side) for _ in range(2))

    def forward(self, x: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """(N, inputs, H, W), (N, style_dim) twice -> (N, outputs, 2H, 2W), or the same size without a level before."""
        x = x if self.up is None else self.up(double(x))
        return self.second(self.conv(self.first(x, first)), second)


def _conv(inputs: int, outputs: int) -> EqualizedConv2d:
    return EqualizedConv2d(inputs, outputs, 3, gain=SQRT2, bias=False)  # the bias comes after the noise
