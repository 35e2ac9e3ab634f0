"""CycleGAN: Zhu, Park, Isola & Efros 2017, Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Nets.

Appendix 7.2: generators c7s1-64, d128, d256, R256 x 9 (x 6 for images of 128 pixels), u128, u64, c7s1-3 and tanh, with
reflection padding and instance norm (without scale and shift); discriminators C64-C128-C256-C512 on patches of 70
pixels. All weights N(0, .02). Adam with learning rate 2e-4 and beta1 .5, batches of one. The learning rate is constant
in the first half of the run and falls linearly to zero in the second.

Deviations: 6 blocks below 256 pixels, 9 from there on; below 128 pixels the patches shrink with the image (34 pixels at
64, 16 at 32), since the discriminator would otherwise see all of it; no bias before a norm, which would cancel it (the
release has one); samples come from averaged weights (ema.half_life=0 takes the latest weights, as the authors do).

    gancli train model=cyclegan data=unpaired data.root=~/horse2zebra data.size=128
"""

from torch import nn

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.translation import Cyclic
from gancli.nn.init import dcgan_
from gancli.nn.patchgan import layers_for, patchgan, receptive_field, smallest
from gancli.nn.shortcut import Residual
from gancli.ranges import Extra, Units


class CycleGAN(Cyclic):
    """Two residual generators and two PatchGANs, for any size from 8 pixels on.

    Args:
        spec: shape of the images.
        width: channels of the generators' first layer.
        blocks: residual blocks; None: 9 for images of 256 pixels and more, else 6.
        halvings: layers of stride 2 before the blocks, and as many after them; 2 in the paper.
        discriminator_width: channels of the discriminators' first layer.
        discriminator_layers: 1 to 4, for patches of 16, 34, 70 or 142 pixels; None: see layers_for().

    Raises:
        UsageError: the data has one domain, or the images are too small.
        ValueError: a number is out of range.
    """

    bf16_pays = True
    nondeterministic = "the backward pass of ReflectionPad2d"

    def __init__(
        self,
        spec: ImageSpec,
        width: Units = 64,
        blocks: Extra | None = None,
        halvings: int = 2,
        discriminator_width: Units = 64,
        discriminator_layers: Extra | None = None,
    ) -> None:
        super().__init__(spec)
        side = min(spec.height, spec.width)
        blocks = (9 if side >= 256 else 6) if blocks is None else blocks
        layers = layers_for(side) if discriminator_layers is None else discriminator_layers
        if width < 1 or blocks < 0 or not 0 <= halvings <= 5:
            raise ValueError(f"width={width} must be 1 or more, blocks={blocks} 0 or more, halvings={halvings} 0 to 5")
        self.multiple = 2**halvings
        check(spec, layers, least=max(8, 2 * self.multiple, smallest(layers)), multiple=self.multiple)
        a, b = spec.source_channels, spec.channels
        self.generators = nn.ModuleDict(
            {"a2b": generator(a, b, width, blocks, halvings), "b2a": generator(b, a, width, blocks, halvings)}
        )
        self.discriminators = nn.ModuleDict(
            {name: patchgan(c, discriminator_width, layers, nn.InstanceNorm2d) for name, c in (("a", a), ("b", b))}
        )
        self.notes = (f"discriminators with {layers} layers judge patches of {receptive_field(layers)} pixels",)
        self.apply(dcgan_)


def check(spec: ImageSpec, layers: int, *, least: int, multiple: int) -> None:
    """Refuse images that the networks cannot take. Raises UsageError."""
    sides = (spec.height, spec.width)
    if min(sides) < least or any(side % multiple for side in sides):
        raise UsageError(
            f"this model cannot translate {spec.size} images with {layers} discriminator layers: "
            f"the sides must be multiples of {multiple} and at least {least} pixels; try data.size=32 or data.size=64"
        )


def generator(inputs: int, outputs: int, width: int, blocks: int, halvings: int) -> nn.Sequential:
    """(N, inputs, H, W) -> (N, outputs, H, W) in (-1, 1); sides are multiples of 2^halvings."""
    widths = [width * 2**i for i in range(halvings + 1)]
    layers = [nn.ReflectionPad2d(3), nn.Conv2d(inputs, width, 7, bias=False), *_normed(width)]
    for w in widths[:-1]:
        layers += [nn.Conv2d(w, 2 * w, 3, 2, 1, bias=False), *_normed(2 * w)]
    layers += [block(widths[-1]) for _ in range(blocks)]
    for w in reversed(widths[:-1]):
        layers += [nn.ConvTranspose2d(2 * w, w, 3, 2, 1, output_padding=1, bias=False), *_normed(w)]
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, outputs, 7), nn.Tanh())


def block(width: int) -> Residual:
    """A residual block of two 3x3 convolutions, without a ReLU after the sum."""
    convolution = lambda: (nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=False))  # noqa: E731
    return Residual(*convolution(), *_normed(width), *convolution(), nn.InstanceNorm2d(width))


def _normed(width: int) -> tuple[nn.Module, nn.Module]:
    return nn.InstanceNorm2d(width), nn.ReLU()
