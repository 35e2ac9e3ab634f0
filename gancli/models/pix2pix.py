"""pix2pix: Isola, Zhu, Zhou & Efros 2017, Image-to-Image Translation with Conditional Adversarial Networks.

Section 6.1: a U-Net C64-C128-C256-C512-C512-C512-C512-C512 down to one pixel and back, with skip connections, batch
norm (except in the first and the innermost layer), leaky ReLU .2 on the way down, ReLU on the way up, and dropout .5 in
the first three decoder layers; a PatchGAN with patches of 70 pixels that sees source and output together. All weights
N(0, .02). Adam with learning rate 2e-4 and beta1 .5, batches of one. The noise is the dropout, which stays on at test
time; batch norm uses the statistics of the test batch (section 3.3; for single images this is instance norm).

Deviations: as many halvings as the sides allow, at most 8; below 128 pixels the patches shrink with the image; no bias
before a norm, which would cancel it; the learning rate falls linearly to zero in the second half, as in the authors'
PyTorch release.

    gancli train model=pix2pix data=paired data.root=~/facades data.size=256
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from gancli.data.spec import ImageSpec
from gancli.models.cyclegan import check
from gancli.models.translation import Paired
from gancli.nn.init import dcgan_
from gancli.nn.noise import NoiseDropout, drawing
from gancli.nn.patchgan import layers_for, patchgan, receptive_field, smallest
from gancli.ranges import Drop, Extra, Units

DROPPED = 3  # decoder layers with dropout


class Pix2Pix(Paired):
    """A U-Net and a conditional PatchGAN for images whose sides can be halved twice or more.

    Args:
        spec: shape of the images.
        width: channels of the generator's first layer; they double up to 8 times that number.
        dropout: probability in the first three decoder layers.
        discriminator_width: channels of the discriminator's first layer.
        discriminator_layers: 1 to 4, for patches of 16, 34, 70 or 142 pixels; None: see layers_for().

    Raises:
        UsageError: the data has no pairs, or the images are too small.
        ValueError: a number is out of range.
    """

    mixes_batches = True  # see norm()

    def __init__(
        self,
        spec: ImageSpec,
        width: Units = 64,
        dropout: Drop = 0.5,
        discriminator_width: Units = 64,
        discriminator_layers: Extra | None = None,
    ) -> None:
        super().__init__(spec)
        if width < 1:
            raise ValueError(f"width={width} must be 1 or more")
        layers = layers_for(min(spec.height, spec.width)) if discriminator_layers is None else discriminator_layers
        check(spec, layers, least=max(8, smallest(layers)), multiple=4)
        halvings = max(n for n in range(2, 9) if not (spec.height % 2**n or spec.width % 2**n))
        self.multiple = 2**halvings
        widths = [width * min(2**i, 8) for i in range(halvings)]
        self.generators = nn.ModuleDict({"a2b": UNet(spec.source_channels, spec.channels, widths, dropout)})
        both = spec.source_channels + spec.channels
        self.discriminators = nn.ModuleDict({"b": patchgan(both, discriminator_width, layers, norm)})
        self.notes = (f"the discriminator with {layers} layers judges patches of {receptive_field(layers)} pixels",)
        self.apply(dcgan_)

    def translate(self, source: Tensor, direction: str = "a2b", generator: Generator | None = None) -> Tensor:
        with drawing(self.generators, generator):
            return self.generators[direction](source)

    def skip_translation(self, source: Tensor, direction: str, generator: Generator) -> None:
        network = self.generators[direction]
        assert isinstance(network, UNet), "see __init__()"
        for shape in network.dropped(source.shape[2:]):
            torch.rand(len(source), *shape, device=source.device, generator=generator)


def norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm without running averages: it uses the statistics of the current batch, also at test time."""
    return nn.BatchNorm2d(channels, track_running_stats=False)


class UNet(nn.Module):
    """Encoder and decoder with a skip connection at every resolution.

    Args:
        inputs: channels of the source.
        outputs: channels of the output.
        widths: channels after each halving, two or more.
        dropout: probability in the first decoder layers.
    """

    def __init__(self, inputs: int, outputs: int, widths: list[int], dropout: float) -> None:
        super().__init__()
        self.widths, self.dropout = widths, dropout
        last = len(widths) - 1
        pairs = list(zip([inputs, *widths], widths))
        # The innermost layer of a square image has one pixel, which a norm would set to zero.
        self.down = nn.ModuleList(_down(i, o, first=n == 0, normed=0 < n < last) for n, (i, o) in enumerate(pairs))
        up = []
        for n, (after, before) in enumerate(reversed(list(zip([outputs, *widths], widths)))):
            joined = before if n == 0 else 2 * before  # with the skip connection
            if n < last:
                layers = [nn.ReLU(), nn.ConvTranspose2d(joined, after, 4, 2, 1, bias=False), norm(after)]
                up.append(nn.Sequential(*layers, *([NoiseDropout(dropout)] if n < DROPPED else [])))
            else:
                up.append(nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(joined, after, 4, 2, 1), nn.Tanh()))
        self.up = nn.ModuleList(up)

    def dropped(self, sides: Sequence[int]) -> list[tuple[int, ...]]:
        """Return the shapes of the maps that values are dropped from, in order, for images of these sides."""
        deep = len(self.widths)
        channels = self.widths[-2::-1][:DROPPED] if self.dropout else []
        return [(each, *(side >> (deep - 1 - n) for side in sides)) for n, each in enumerate(channels)]

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H, W) in (-1, 1)."""
        skips = []
        for layer in self.down:
            x = layer(x)
            skips.append(x)
        x = self.up[0](skips.pop())
        for layer in self.up[1:]:
            x = layer(torch.cat([x, skips.pop()], 1))
        return x


def _down(inputs: int, outputs: int, *, first: bool, normed: bool) -> nn.Sequential:
    activation = [] if first else [nn.LeakyReLU(0.2)]
    convolution = nn.Conv2d(inputs, outputs, 4, 2, 1, bias=not normed)
    return nn.Sequential(*activation, convolution, *([norm(outputs)] if normed else []))
