"""A hierarchical VAE, small: Child 2021, Very Deep VAEs Generalize Autoregressive Models (arXiv:2011.10650).

The latents lie in a ladder (Sonderby et al. 2016, Ladder Variational Autoencoders, arXiv:1602.02282): blocks follow
each other from the top down, at a quarter and then at half of the image's sides. Each draws its latents from a diagonal
normal that depends on the map x of the blocks above, p(z_l|z_<l), or, for an image, from one that also sees the
encoder's activations, q(z_l|z_<l, image), and adds what they say to x. Hence the KL is a sum of one analytic KL per
block, of which only the conditions are sampled, and sample() walks down the blocks.

As in VDVAE: bottlenecks of 1x1, 3x3, 3x3 and 1x1 convolutions with GELU, whose last convolution is scaled by
1/sqrt(blocks) in residual branches; priors that start as standard normal; a learned map in place of x at the top of
each resolution; nearest neighbours on the way up, means on the way down.

Deviations: two resolutions instead of all, with strided convolutions next to the image; the posterior is relative to
the prior, as in Vahdat & Kautz 2020, NVAE; any likelihood of the project; Adam, and no update is skipped.

    gancli train model=hvae data=mnist
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.latent import LatentVariable, Posterior
from gancli.nn import gaussian
from gancli.nn.labels import one_hot, with_maps
from gancli.nn.likelihoods import Likelihood, wide
from gancli.nn.shortcut import Residual
from gancli.ranges import Depth, Extra, Units

Noise = Callable[[Tensor], Tensor]  # from a tensor to noise of its shape


class Step(NamedTuple):
    """The latents of a block, (N, latents, h, w) each, in the units of its prior: there u is standard normal, and KLs
    and ratios of densities are those of z = prior mean + prior standard deviation * u.
    """

    u: Tensor
    mean: Tensor  # of the posterior
    log_var: Tensor


class HVAE(LatentVariable):
    """An encoder from the image up and a decoder from the top down.

    The ``z`` of its posteriors is the map that the last block leaves, (k N, width, H/2, W/2), a function of all
    latents: the pixels depend on nothing else, and no block is computed twice. ``stats["groups"]`` is the KL by block,
    (N, blocks), the mean over the codes. ``stats["mean"]`` is by how many standard deviations of the prior the
    posterior's mean is away from the prior's, all blocks' one after another: where a prior depends on the latents
    above, the posterior mean itself varies over images even if it says nothing of its own.

    Args:
        spec: shape and levels of the images.
        likelihood: called with ``levels=`` to build the likelihood.
        latent_dim: latents of each block, per position.
        width: channels of the maps.
        inner: channels inside the bottlenecks.
        coarse: blocks at a quarter of the image's sides, of the encoder and of the decoder.
        fine: blocks at half of them; 0: none.
        conditional: give encoder and decoder the class; for labelled data.

    Raises:
        UsageError: a side of the images does not divide by 4, or what LatentVariable refuses.
    """

    encoder: "Encoder"
    decoder: "Decoder"

    def __init__(
        self,
        spec: ImageSpec,
        likelihood: Callable[..., Likelihood],
        latent_dim: Units = 4,
        width: Units = 32,
        inner: Units = 16,
        coarse: Depth = 3,
        fine: Extra = 1,
        conditional: bool = False,
    ) -> None:
        super().__init__(spec, likelihood, conditional)
        if spec.height % 4 or spec.width % 4:
            raise UsageError(
                f"HVAE halves images twice, but {spec.size} does not divide by 4: set data.size to "
                "28 or 32, or use model=vae"
            )
        self.groups = coarse + fine
        self.classes = spec.num_classes if conditional else 0
        sides, parameters = (spec.height // 4, spec.width // 4), self.likelihood.channels(spec.channels)
        self.encoder = Encoder(spec.channels + self.classes, width, inner, coarse, fine)
        self.decoder = Decoder(parameters, self.classes, sides, width, inner, latent_dim, coarse, fine)

    def fit_data(self, pixels: Tensor) -> None:
        self.begin_at(pixels, self.decoder.get_submodule("image"))

    def encode(
        self, image: Tensor, label: Tensor | None = None, k: int = 1, generator: Generator | None = None
    ) -> Posterior:
        n = len(image)
        x, steps = self._infer(image, label, k, self._drawn(generator))
        kl = [gaussian.kl(step.mean, step.log_var).flatten(1).sum(1) for step in steps]
        ratio = [gaussian.log_ratio(step.u, step.mean, step.log_var).flatten(1).sum(1) for step in steps]
        groups = torch.stack(kl, 1).view(k, n, -1).mean(0)
        mean = torch.cat([step.mean.flatten(1) for step in steps], 1).view(k, n, -1).mean(0)
        return Posterior(x, groups.sum(1), {"groups": groups, "mean": mean}, torch.stack(ratio).sum(0).view(k, n))

    def skip_codes(self, image: Tensor, label: Tensor | None, k: int, generator: Generator) -> None:
        for shape in self.decoder.latents():
            torch.randn(k * len(image), *shape, dtype=wide(image).dtype, device=image.device, generator=generator)

    def code(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Return the last map for latents that are the means of the posterior, each given the means above it."""
        return self._infer(image, label, 1, torch.zeros_like)[0]

    def prior(self, n: int, generator: Generator | None = None, label: Tensor | None = None) -> Tensor:
        """Draw the latents of every block given those above, from the top down: the last map, (n, width, H/2, W/2)."""
        return self.decoder(n, None, self._one_hot(label), self._drawn(generator))[0]

    def decode(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return self.decoder.image(z)

    def _infer(self, image: Tensor, label: Tensor | None, k: int, noise: Noise) -> tuple[Tensor, list[Step]]:
        code = self._one_hot(label)
        seen = self.encoder(image if code is None else with_maps(image, code))
        code = None if code is None else code.repeat(k, 1)
        return self.decoder(k * len(image), [each.repeat(k, 1, 1, 1) for each in seen], code, noise)

    @staticmethod
    def _drawn(generator: Generator | None) -> Noise:
        return lambda like: torch.randn(like.shape, dtype=like.dtype, device=like.device, generator=generator)

    def _one_hot(self, label: Tensor | None) -> Tensor | None:
        if not self.conditional:
            return None
        assert label is not None, "a conditional model is given labels"
        return one_hot(label, self.classes)


class Encoder(nn.Module):
    """Residual bottlenecks at half and at a quarter of the image's sides: (N, C, H, W) -> (N, width, H/4, W/4) and
    (N, width, H/2, W/2).
    """

    def __init__(self, channels: int, width: int, inner: int, coarse: int, fine: int) -> None:
        super().__init__()
        scale = 1 / math.sqrt(coarse + fine)
        self.stem = nn.Conv2d(channels, width, 4, 2, 1)
        self.fine, self.coarse = (
            nn.Sequential(*(Residual(bottleneck(width, inner, width, scale)) for _ in range(depth)))
            for depth in (fine, coarse)
        )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = self.fine(self.stem(image))
        return self.coarse(avg_pool2d(x, 2)), x


class Decoder(nn.Module):
    """The ladder, and the layer from its last map to the parameters of the pixels.

    Args:
        parameters: channels that the likelihood takes.
        classes: number of classes that move the map at the top; 0: none.
        sides: height and width of the coarse maps.
        width, inner, latents, coarse, fine: see HVAE.
    """

    def __init__(
        self,
        parameters: int,
        classes: int,
        sides: tuple[int, int],
        width: int,
        inner: int,
        latents: int,
        coarse: int,
        fine: int,
    ) -> None:
        super().__init__()
        scale = 1 / math.sqrt(coarse + fine)
        self.drawn = latents  # of each block, per position
        self.image = nn.ConvTranspose2d(width, parameters, 4, 2, 1)
        self.top, self.middle = (nn.Parameter(torch.zeros(width, by * sides[0], by * sides[1])) for by in (1, 2))
        self.shift = nn.Linear(classes, width, bias=False) if classes else None
        self.coarse, self.fine = (
            nn.ModuleList(Block(width, inner, latents, scale) for _ in range(depth)) for depth in (coarse, fine)
        )

    def latents(self) -> list[tuple[int, ...]]:
        """Return the shapes of the latents of each block, in the order in which they are drawn."""
        rungs = [(self.top, len(self.coarse)), (self.middle, len(self.fine))]
        return [(self.drawn, *start.shape[1:]) for start, blocks in rungs for _ in range(blocks)]

    def forward(
        self, n: int, seen: Sequence[Tensor] | None, code: Tensor | None, noise: Noise
    ) -> tuple[Tensor, list[Step]]:
        """Walk down the ladder.

        Args:
            n: number of codes.
            seen: the encoder's two maps of n images, for their posterior; None: the prior.
            code: one-hot classes, (n, classes), for a conditional model.
            noise: returns standard normal noise, or zeros for the means.

        Returns:
            The last map, (n, width, H/2, W/2), and the latents of each block.
        """
        coarse, fine = (None, None) if seen is None else seen
        steps = []
        x = self.top.expand(n, -1, -1, -1)
        if self.shift is not None:
            x = x + self.shift(code)[:, :, None, None]
        for block in self.coarse:
            x, step = block(x, coarse, noise)
            steps.append(step)
        x = self.middle + interpolate(x, scale_factor=2.0)
        for block in self.fine:
            x, step = block(x, fine, noise)
            steps.append(step)
        return x, steps


class Block(nn.Module):
    """A rung: its latents, by the prior or by the posterior, then a residual bottleneck.

    Args:
        width, inner, latents: see HVAE.
        scale: of the layers that add to the map.
    """

    def __init__(self, width: int, inner: int, latents: int, scale: float) -> None:
        super().__init__()
        self.split = latents, latents, width
        self.prior = bottleneck(width, inner, 2 * latents + width, 0)
        self.posterior = bottleneck(2 * width, inner, 2 * latents)
        self.project = scaled(nn.Conv2d(latents, width, 1), scale)
        self.residual = Residual(bottleneck(width, inner, width, scale))

    def forward(self, x: Tensor, seen: Tensor | None, noise: Noise) -> tuple[Tensor, Step]:
        """Take the map (N, width, h, w), and the encoder's of the same shape, or None for a draw from the prior."""
        mean, log_var, change = self.prior(x).split(self.split, 1)
        mean, log_var = wide(mean), wide(log_var)
        if seen is None:
            q_mean, q_log_var = torch.zeros_like(mean), torch.zeros_like(mean)
        else:
            q_mean, q_log_var = wide(self.posterior(torch.cat([x, seen], 1))).chunk(2, 1)
        u = q_mean + (q_log_var / 2).exp() * noise(q_mean)
        z = mean + (log_var / 2).exp() * u
        return self.residual(x + change + self.project(z)), Step(u, q_mean, q_log_var)


def bottleneck(inputs: int, inner: int, outputs: int, scale: float = 1) -> nn.Sequential:
    """Return 1x1, 3x3, 3x3 and 1x1 convolutions with GELU before each; ``scale`` multiplies the last one's weights."""
    last = scaled(nn.Conv2d(inner, outputs, 1), scale)
    return nn.Sequential(
        nn.GELU(), nn.Conv2d(inputs, inner, 1),
        nn.GELU(), nn.Conv2d(inner, inner, 3, padding=1),
        nn.GELU(), nn.Conv2d(inner, inner, 3, padding=1),
        nn.GELU(), last,
    )  # fmt: skip


def scaled(layer: nn.Conv2d, scale: float) -> nn.Conv2d:
    """Return the layer with its weights multiplied, and a bias of zero."""
    with torch.no_grad():
        layer.weight.mul_(scale)
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # it has one
    return layer
