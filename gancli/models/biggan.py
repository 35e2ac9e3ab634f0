"""BigGAN: Brock, Donahue & Simonyan 2019, Large Scale GAN Training for High Fidelity Natural Image Synthesis.

Residual networks as in projection, wider, with spectral norm in both. In the generator a class is one row of a table
that all layers share (section 3), and the latents are hierarchical (section 3 and appendix B): z is split into equal
parts, of which the first enters the linear layer and one each goes, beside the class, to the batch norms of a block,
whose gains 1 + W c and shifts V c are linear. The discriminator adds <embedding of the class, features> to its score.
Hinge loss, several discriminator updates per generator update on fresh images, uniform classes of generated images,
orthogonal initialisation, a moving average of the generator; attention (Zhang et al. 2019) for larger images.

Sampling: ``truncation=t`` draws latents from a normal restricted to |z| < t (section 3.1). The statistics of training
do not fit those, so they are then accumulated anew over 16 batches with uniform classes from a fixed seed, as the
release's standing statistics; without truncation everything is as trained. The regulariser that is to make models
amenable to truncation (eq. 3), ``generator_penalty=orthogonal_relaxed``, is on by default in ``biggan``.

``biggan`` is small. ``biggan_paper`` is the CIFAR-10 configuration of the authors' release (launch_cifar_ema.sh), which
has none of the shared embedding, the hierarchy, attention and the regulariser, weights N(0, .02), batches of 50, four
discriminator updates, Adam with learning rate 2e-4 and betas (0, .999).

Deviations: all blocks have one width, which the release has at 32 pixels only; the discriminator halves the image one
time fewer than the generator doubles it; biases start at 0; without a shared embedding, gains start at 1 and shifts at
0 exactly; ``latent_dim`` that cannot be split is refused (the release cuts it); the release evaluates with statistics
of the batch unless told otherwise, and averages from its 1000th update on, where gancli's average has a ramp.

    gancli train model=biggan data=mnist
    gancli sample ckpt=latest view=truncation
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gancli.data.spec import ImageSpec
from gancli.models import projection
from gancli.models.dcgan import pyramid
from gancli.models.projection import Projected
from gancli.nn import residual
from gancli.nn.attention import SelfAttention2d
from gancli.nn.init import weights_
from gancli.nn.norm import BatchNorm2d, ConditionalBatchNorm2d, LinearBatchNorm2d, stand_, statistics
from gancli.nn.spectral import spectral_
from gancli.ranges import Above, Units

FILLS: dict[str, Callable[[Tensor], object]] = {
    "orthogonal": nn.init.orthogonal_,
    "normal": partial(nn.init.normal_, std=0.02),
}
STANDING = (16, 64, 0)  # passes, images of each, and seed, of the standing statistics


class BigGAN(Projected):
    """Class-conditional residual networks for 8 to 128 pixels.

    Args:
        spec: shape and classes of the images.
        latent_dim: number of normal latents; with ``hierarchical`` a multiple of 1 + the number of blocks.
        width: channels of the generator's blocks.
        discriminator_width: channels of the discriminator's blocks.
        shared: length of the embedding of a class that all of the generator's layers share; 0: a table per layer.
        hierarchical: whether every block has latents of its own.
        attention: height of the feature maps with attention, in both networks; 0: none.
        init: of the weights: orthogonal, or normal with deviation .02.

    Raises:
        UsageError: the data has no classes, or the image's size has no 4- to 7-pixel seed.
        ValueError: hierarchical latents without a shared embedding or with a ``latent_dim`` that cannot be split, no
            feature maps of the height ``attention``, or a width below 1, or 8 with attention.
    """

    bf16_pays = True
    channels_last_pays = True
    _trained: dict[str, Tensor] | None = None  # batch-norm statistics while standing ones are in their place

    def __init__(
        self,
        spec: ImageSpec,
        latent_dim: Units = 60,
        width: Units = 64,
        discriminator_width: Units = 64,
        shared: int = 32,
        hierarchical: bool = True,
        attention: int = 0,
        init: Literal["orthogonal", "normal"] = "orthogonal",
    ) -> None:
        super().__init__(spec, latent_dim)
        widths, _ = pyramid(spec, width)
        self.generator = Generator(spec, latent_dim, width, shared, hierarchical, attention)
        self.discriminator = Discriminator(spec, discriminator_width, len(widths), attention)
        weights_(self, FILLS[init])
        spectral_(self.generator, embeddings=False)
        spectral_(self.discriminator)

    def set_sampling(self, truncation: Above | None = None) -> None:
        """See NormalPrior; with truncation, batch norms get standing statistics of the truncated latents."""
        found = statistics(self.generator)
        if self._trained is not None:
            for name, buffer in found.items():
                buffer.copy_(self._trained[name])
        super().set_sampling(truncation)
        self._trained, self.batch_norm = None, "eval"
        if truncation is None:
            return
        self._trained, self.batch_norm = {name: buffer.clone() for name, buffer in found.items()}, "standing"
        passes, n, seed = STANDING
        generator = torch.Generator(self.device).manual_seed(seed)
        stand_(self.generator, lambda: self.sample(n, generator=generator), passes)


class Generator(residual.Generator):
    """Blocks whose batch norms depend on the class and, with hierarchical latents, on a part of z.

    Args:
        spec: shape and classes of the images.
        latent_dim, width, shared, hierarchical, attention: see BigGAN.
    """

    def __init__(
        self, spec: ImageSpec, latent_dim: int, width: int, shared: int, hierarchical: bool, attention: int
    ) -> None:
        widths, seed = pyramid(spec, width)
        parts = len(widths) + 1 if hierarchical else 1
        if hierarchical and not shared:
            raise ValueError("hierarchical=true needs a class embedding that blocks share: use shared=32")
        if latent_dim % parts:
            raise ValueError(
                f"latent_dim={latent_dim} cannot be split among {parts} parts (1 + blocks); use "
                f"latent_dim={latent_dim // parts * parts or parts}"
            )
        chunk = latent_dim // parts
        norm: Any = partial(ConditionalBatchNorm2d, classes=spec.num_classes)
        if shared:
            norm = partial(LinearBatchNorm2d, inputs=shared + (chunk if hierarchical else 0))
        super().__init__(chunk, width, len(widths), spec.channels, seed, norm)
        self.hierarchical, self.parts = hierarchical, parts
        self.norm = BatchNorm2d(width)  # the last one knows no class
        self.shared = nn.Embedding(spec.num_classes, shared) if shared else nn.Identity()
        heights = [seed[0] << i for i in range(1, len(widths) + 1)]
        self.attend = nn.ModuleDict(_attention(attention, heights, width))

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """(N, latent_dim), (N,) -> (N, channels, H, W) in (-1, 1); the label is required."""
        assert label is not None  # the model is conditional
        return self.draw(z, self.shared(label))

    def draw(self, z: Tensor, condition: Tensor) -> Tensor:
        """Map latents and vectors of classes, ``shared(label)`` or mixtures of such rows, to images.

        Args:
            z: (N, latent_dim).
            condition: (N, shared) float32; without a shared embedding the labels, (N,).

        Returns:
            (N, channels, H, W) in (-1, 1).
        """
        first, *rest = z.chunk(self.parts, 1)
        x = self.start(first)
        for i, block in enumerate(self.blocks):
            x = block(x, torch.cat([condition, rest[i]], 1) if self.hierarchical else condition)
            x = self.attend[str(i)](x) if str(i) in self.attend else x
        return self.image(self.norm(x).relu()).tanh()


class Discriminator(projection.Discriminator):
    """The projection discriminator with attention, and with a bias in its last layer."""

    def __init__(self, spec: ImageSpec, width: int, stages: int, attention: int) -> None:
        super().__init__(spec.channels, width, stages, spec.num_classes)
        self.linear = nn.Linear(width, 1)
        heights = [spec.height >> i for i in range(1, max(1, stages - 1) + 1)]
        for i, layer in _attention(attention, heights, width).items():
            self.trunk.insert(int(i) + 1, layer)


def _attention(height: int, heights: list[int], width: int) -> dict[str, nn.Module]:
    """Return a layer of attention by the number of the block after which it comes; none if ``height`` is 0."""
    if not height:
        return {}
    if height not in heights:
        there = ", ".join(map(str, heights))
        raise ValueError(f"attention={height}: the feature maps have heights {there}; use one of them, or 0 for none")
    return {str(heights.index(height)): SelfAttention2d(width)}
