"""Networks that grow: Karras et al. 2018, Progressive Growing of GANs, section 2 and appendix A.

The networks have levels, each of twice the size of the one before. Training begins at the first; each further level
is faded in over the layers before it, and trained in full for as long, before the next one follows. Real images are
faded alike. The optimizers are reset when a fade begins and when it ends, as in the authors' code.

All of this is a function of the share of the run, so that ``images=`` scales it and a resumed run needs nothing else.
Images have the full size at every level, where the last levels' pixels are repeated, as in the authors' code.
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from gancli.data.spec import Batch, ImageSpec
from gancli.models.base import Adversarial
from gancli.models.dcgan import pyramid
from gancli.nn.equalized import EqualizedConv2d


class Stage(NamedTuple):
    """A part of the growth in which one set of layers is trained."""

    level: int  # the newest level, from 0
    fading: bool  # whether it is being faded in over the level before


class Growth:
    """Which level is trained when: each in full first, then a fade to the next of the same length.

    With the paper's 32 pixels (levels of 4, 8, 16 and 32) there are six parts of 400,000 images each, of 20M in all:
    4, 4 to 8, 8, 8 to 16, 16, 16 to 32; from there on it is 32.

    Args:
        levels: number of levels, 1 or more.
        grown: share of the run after which the network is complete; 0: it is from the start.
        first: the level that training begins with.
    """

    def __init__(self, levels: int, grown: float, first: int = 0) -> None:
        self.last = levels - 1
        self.first = min(first, self.last) if grown else self.last
        self.grown = grown

    def stage(self, share: float) -> Stage:
        """Return the stage after a share of the run, in [0, 1]."""
        return self._at(share)[0]

    def alpha(self, share: float) -> float:
        """Return the weight of the newest level, in [0, 1]; the rest is that of the level before."""
        return self._at(share)[1]

    def begins(self, level: int) -> float:
        """Return the share of the run from which a level, no longer faded, is trained in full."""
        return self.grown * max(level - self.first, 0) / max(self.last - self.first, 1)

    def _at(self, share: float) -> tuple[Stage, float]:
        parts = 2 * (self.last - self.first)
        # Rounded, since a share that ought to be the begin of a part, such as .06 / .02, may be a bit less.
        done = round(share / self.grown * parts, 9) if parts else 0.0
        if done >= parts:
            return Stage(self.last, False), 1.0
        part = int(done)
        fading = part % 2 == 1
        return Stage(self.first + (part + 1) // 2, fading), done - part if fading else 1.0


def halve(image: Tensor) -> Tensor:
    """Average 2x2 pixels. (N, C, H, W) -> (N, C, H/2, W/2)."""
    return functional.avg_pool2d(image, 2)


def double(image: Tensor) -> Tensor:
    """Repeat each pixel 2x2 times. (N, C, H, W) -> (N, C, 2H, 2W)."""
    return functional.interpolate(image, scale_factor=2, mode="nearest")


def fade(low: Tensor, high: Tensor, alpha: Tensor) -> Tensor:
    """Return ``low`` at alpha=0 and ``high`` at alpha=1, exactly; alpha is (), the others of one shape."""
    return (1 - alpha) * low + alpha * high


class Growing(nn.Module):
    """A network with levels, of which those up to the stage's are in use; it is complete until enter() is called.

    Args:
        levels: number of levels.
        first: the first level that is ever the newest; it and those above it have layers to or from images.
    """

    copied = ("alpha",)  # a moving average has the weight of the trained network, not one of the past
    alpha: Tensor

    def __init__(self, levels: int, first: int) -> None:
        super().__init__()
        self.last, self.first = levels - 1, first
        self.stage = Stage(self.last, False)
        self.register_buffer("alpha", torch.ones(()), persistent=False)  # see Model.advance()

    def shrunk(self, image: Tensor) -> Tensor:
        """Average images of the full size down to that of the newest level."""
        factor = 2 ** (self.last - self.stage.level)
        return functional.avg_pool2d(image, factor) if factor > 1 else image

    def enlarged(self, image: Tensor) -> Tensor:
        """Repeat the pixels of images of the newest level up to the full size."""
        factor = 2 ** (self.last - self.stage.level)
        return functional.interpolate(image, scale_factor=factor, mode="nearest") if factor > 1 else image


class GrowingGenerator(Growing, ABC):
    """A generator whose features() at each level a 1x1 convolution, linear and of gain 1, turns into an image.

    Args:
        channels: of the images.
        widths: channels of the features of each level, from the smallest.
        first: see Growing.
    """

    def __init__(self, channels: int, widths: list[int], first: int) -> None:
        super().__init__(len(widths), first)
        heads = {str(level): EqualizedConv2d(widths[level], channels, 1) for level in range(first, len(widths))}
        self.to_image = nn.ModuleDict(heads)

    def image(self, features: list[Tensor]) -> Tensor:
        """Return images of the full size from the features of all levels in use, [(N, C, H, W)] from the smallest."""
        level = self.stage.level
        image = self.to_image[str(level)](features[level])
        if self.stage.fading:
            image = fade(double(self.to_image[str(level - 1)](features[level - 1])), image, self.alpha)
        return self.enlarged(image)

    @abstractmethod
    def features(self, x: Tensor) -> list[Tensor]:
        """Return the features of all levels in use, from the smallest, [(N, width, H, W)], of latents or styles."""

    def forward(self, x: Tensor) -> Tensor:
        """Return images of the full size, (N, channels, H, W) without bounds, of latents or styles."""
        return self.image(self.features(x))

    def by_level(self, x: Tensor) -> list[Tensor]:
        """Return images of each level in use, each of its own size and through its own layer, unfaded."""
        features = self.features(x)
        return [self.to_image[str(level)](features[level]) for level in range(self.first, self.stage.level + 1)]


class GrowingGAN(Adversarial):
    """A GAN whose networks are Growing. They generate images without bounds, which sample() clamps.

    A growing model comes with the view ``growth``, and one that is complete from the start without.
    """

    resets = True
    views = ("grid", "growth")
    growth: Growth
    discriminator: Growing

    @property
    def grower(self) -> GrowingGenerator:
        """The network that grows: the generator, or the part of it that makes images."""
        assert isinstance(self.generator, GrowingGenerator)
        return self.generator

    def own_views(self) -> tuple[str, ...]:
        return super().own_views() if self.growth.first < self.growth.last else ("grid",)

    def stage(self, share: float) -> Stage:
        return self.growth.stage(share)

    def enter(self, stage: Hashable) -> None:
        assert isinstance(stage, Stage), "stage() returned it"
        self.grower.stage = self.discriminator.stage = stage

    def advance(self, share: float) -> None:
        alpha = self.growth.alpha(share)
        for net in (self.grower, self.discriminator):
            net.alpha.fill_(alpha)

    def present(self, batch: Batch) -> Batch:
        """Average real images down to the newest level, and fade as the generator does; pixels are repeated."""
        net = self.discriminator
        if net.stage == (net.last, False):
            return batch
        image = net.shrunk(batch.image)
        if net.stage.fading:
            image = fade(double(halve(image)), image, net.alpha)
        return batch._replace(image=net.enlarged(image))

    def sample(
        self, n: int, *, label: Tensor | None = None, source: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        return super().sample(n, label=label, source=source, generator=generator).clamp(-1, 1)

    def images_by_level(self, z: Tensor) -> list[Tensor]:
        """Return the images of latents at each level in use, [(N, C, H, W)], each of its own size, without bounds."""
        return self.grower.by_level(z)


def level_widths(spec: ImageSpec, width: int, max_width: int) -> tuple[list[int], tuple[int, int]]:
    """Return the channels of each level, from the smallest, and the smallest level's height and width.

    Args:
        spec: shape of the images.
        width: channels next to the image; they double with each level away from it.
        max_width: the most channels.

    Raises:
        UsageError: the image's size has no 4- to 7-pixel seed.
        ValueError: ``width`` is below 1.
    """
    widths, seed = pyramid(spec, width)
    return [min(width << i, max_width) for i in reversed(range(len(widths) + 1))], seed
