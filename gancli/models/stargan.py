"""StarGAN: Choi et al. 2018, Unified Generative Adversarial Networks for Multi-Domain Image-to-Image Translation.

Appendix: one generator, which gets the target domain as maps of ones and zeros beside the image (one map per domain),
with two halvings, six residual blocks and instance norm; one discriminator without norm, made of 4x4 convolutions of
stride 2 whose channels double from 64 on, with two heads: real or generated per patch, and the domain. The Wasserstein
loss with gradient penalty 10, n_critic 5, Adam with beta1 .5 and learning rate 1e-4, which falls linearly to zero in
the second half of the run, batches of 16.

Deviations: domains exclude each other (as in the paper's RaFD; its CelebA attributes combine); the discriminator has as
many layers as leave two pixels (the paper's six do so at 128); instance norm keeps no running statistics (with those of
the authors' release, the generator acts differently at test time than in training); and the learning rate reaches zero,
as the paper says (every thousandth update, the release subtracts a thousandth of what it should).

    gancli train model=stargan data=shapes data.label=colour
"""

import torch
from torch import Tensor, nn

from gancli.data.spec import ImageSpec
from gancli.models.cyclegan import check
from gancli.models.translation import MultiDomain
from gancli.nn.shortcut import Residual
from gancli.ranges import Extra, Units


class StarGAN(MultiDomain):
    """One generator and one discriminator for all domains, for 8 pixels and more.

    Args:
        spec: shape of the images and number of domains.
        width: channels of the generator's first layer.
        blocks: residual blocks.
        halvings: layers of stride 2 before the blocks, and as many after them; 2 in the paper.
        discriminator_width: channels of the discriminator's first layer.

    Raises:
        UsageError: the data has no classes, or the images are too small.
        ValueError: a number is out of range.
    """

    bf16_pays = True

    def __init__(
        self, spec: ImageSpec, width: Units = 64, blocks: Extra = 6, halvings: int = 2, discriminator_width: Units = 64
    ) -> None:
        super().__init__(spec)
        if min(width, discriminator_width) < 1 or blocks < 0 or not 0 <= halvings <= 5:
            raise ValueError(
                f"width={width} and discriminator_width={discriminator_width} must be 1 or more, blocks={blocks} 0 or "
                f"more, halvings={halvings} 0 to 5"
            )
        self.multiple = 2**halvings
        layers = min(spec.height, spec.width).bit_length() - 2  # halvings that leave two or three pixels
        check(spec, layers, least=max(8, 2 * self.multiple), multiple=self.multiple)
        self.generators = nn.ModuleDict({"all": generator(spec, width, blocks, halvings)})
        self.discriminators = nn.ModuleDict({"all": Discriminator(spec, discriminator_width, layers)})

    def move(self, image: Tensor, label: Tensor) -> Tensor:
        domains = torch.arange(self.spec.num_classes, device=label.device)
        maps = (label[:, None] == domains).to(image)[:, :, None, None].expand(-1, -1, *image.shape[2:])
        return self.generators["all"](torch.cat([image, maps], 1))  # label maps after the image

    def judge(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.discriminators["all"](image)


class Discriminator(nn.Module):
    """Convolutions without norm and two heads.

    Args:
        spec: shape of the images and number of domains.
        width: channels of the first layer.
        layers: number of halvings.
    """

    def __init__(self, spec: ImageSpec, width: int, layers: int) -> None:
        super().__init__()
        widths = [spec.channels, *(width * 2**i for i in range(layers))]
        pairs = zip(widths, widths[1:])
        self.body = nn.Sequential(*(m for i, o in pairs for m in (nn.Conv2d(i, o, 4, 2, 1), nn.LeakyReLU(0.01))))
        self.real = nn.Conv2d(widths[-1], 1, 3, 1, 1, bias=False)
        seed = (spec.height >> layers, spec.width >> layers)
        self.domain = nn.Conv2d(widths[-1], spec.num_classes, seed, bias=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) -> logits per patch, (N, 1, H', W'), and domain logits, (N, num_classes)."""
        inner = self.body(image)
        return self.real(inner), self.domain(inner).flatten(1)


def generator(spec: ImageSpec, width: int, blocks: int, halvings: int) -> nn.Sequential:
    """(N, C + num_classes, H, W) -> (N, C, H, W) in (-1, 1); sides are multiples of 2^halvings.

    The padding is zero, since the authors saw artefacts with reflection padding.
    """
    widths = [width * 2**i for i in range(halvings + 1)]
    layers = [nn.Conv2d(spec.channels + spec.num_classes, width, 7, 1, 3, bias=False), *_normed(width)]
    for w in widths[:-1]:
        layers += [nn.Conv2d(w, 2 * w, 4, 2, 1, bias=False), *_normed(2 * w)]
    layers += [_block(widths[-1]) for _ in range(blocks)]
    for w in reversed(widths[:-1]):
        layers += [nn.ConvTranspose2d(2 * w, w, 4, 2, 1, bias=False), *_normed(w)]
    return nn.Sequential(*layers, nn.Conv2d(width, spec.channels, 7, 1, 3, bias=False), nn.Tanh())


def _block(width: int) -> Residual:
    convolution = lambda: nn.Conv2d(width, width, 3, 1, 1, bias=False)  # noqa: E731
    norm = nn.InstanceNorm2d(width, affine=True)
    return Residual(convolution(), *_normed(width), convolution(), norm)


def _normed(width: int) -> tuple[nn.Module, nn.Module]:
    return nn.InstanceNorm2d(width, affine=True), nn.ReLU()
