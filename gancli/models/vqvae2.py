"""The VQ-VAE-2: Razavi et al. 2019, Generating Diverse High-Fidelity Images with VQ-VAE-2, arXiv:1906.00446; small.

Two maps of codes (section 3.1): the top one, a code per 8x8 pixels, for what is global, and the bottom one, a code per
4x4 pixels, for details. The encoder goes down to the bottom's size and on to the top's; the top's vectors are replaced
by codes first, and the bottom's vectors depend on these, too. The decoder sees both. The prior of the top is a network
over its map, that of the bottom one over its own map which sees the whole top at every position (section 3.2),

    log p(x) >= log p(x|top, bottom) + log p(top) + log p(bottom|top),

and ``losses/vqvae2.py`` trains the autoencoder, then both priors, in one run.

Deviations: the networks of ``vqvae.py`` next to the image; the top's codes reach the bottom and the decoder by nearest
neighbours, with convolutions after them; sides that do not divide by 8 have a top that reaches beyond them; gated
PixelCNNs without attention for PixelSNAILs; a class where there are labels goes to both priors; finite scalar
quantisation in the small recipe; the likelihood is normalised, for a bound.

    gancli train model=vqvae2 data=mnist
    gancli train model=vqvae2 data=mnist quantiser@model.quantiser=vq
"""

import inspect
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import interpolate

from gancli.data.spec import ImageSpec, scaled
from gancli.errors import UsageError
from gancli.models.discrete import Begun, DiscreteLatents, UniformCodes
from gancli.models.explicit import Explicit
from gancli.models.vqvae import FIT_IMAGES, Residual, check_sides, decoder, encoder
from gancli.nn.labels import Located
from gancli.nn.likelihoods import Categorical, Likelihood
from gancli.nn.quantisers import Quantised, Quantiser
from gancli.ranges import Above, Extra, Units


class VQVAE2(DiscreteLatents):
    """Two maps of codes: the bottom of a quarter of the image's sides, the top of half of those, rounded up.

    Args:
        spec: shape, levels and classes of the images.
        likelihood: called with ``levels=`` to build the likelihood of pixels.
        quantiser: maps vectors to codes; each level has one of its own.
        prior: called for each level with the spec of its codes and their likelihood, and for the bottom with a number
            of channels of ``context``.
        width, blocks, residual: see VQVAE.
        conditional: see DiscreteLatents.
        autoencoder: share of the run in which the autoencoder is trained; the priors are trained in the rest.

    Raises:
        UsageError: a side of the images does not divide by 4, the prior takes no map as a condition, or what
            DiscreteLatents and LatentVariable refuse.
    """

    sampled = ("encoder", "decoder", "prior_network", "bottom_prior")
    priors = ("prior_network", "bottom_prior")
    quantiser: nn.ModuleDict
    encoder: "Encoder"

    def __init__(
        self,
        spec: ImageSpec,
        likelihood: Callable[..., Likelihood],
        quantiser: Quantiser,
        prior: Callable[..., Explicit],
        width: Units = 32,
        blocks: Extra = 2,
        residual: Units = 16,
        conditional: bool | None = None,
        autoencoder: Begun = 0.4,
    ) -> None:
        check_sides(spec, "VQVAE2")
        sides = spec.height // 4, spec.width // 4
        top = quantiser.levels, -(-sides[0] // 2), -(-sides[1] // 2)
        super().__init__(spec, likelihood, prior, top, conditional, autoencoder)
        maps = ImageSpec(1, *sides, num_classes=spec.num_classes, levels=quantiser.levels, nominal=True)
        self.bottom_prior = BottomPrior(prior, maps, quantiser.levels, width, blocks, residual, self.conditional)
        self.bottom_uniform = UniformCodes(maps)
        self.quantiser = nn.ModuleDict({"top": quantiser, "bottom": deepcopy(quantiser)})
        dim = quantiser.dim
        self.encoder = Encoder(spec.channels, width, blocks, residual, dim)
        self.decoder = decoder(2 * dim, width, blocks, residual, self.likelihood.channels(spec.channels))

    @torch.no_grad()
    def fit_data(self, pixels: Tensor) -> None:
        """Start the decoder at the mean colour and spread; bring codes and vectors of both levels together."""
        self.begin_at(pixels, self.decoder[-1])  # type: ignore[index]  # a Sequential, see decoder()
        features = self.encoder.features(scaled(pixels[:: -(-len(pixels) // FIT_IMAGES)]))
        top, bottom = self.quantisers().values()
        top.fit(self.encoder.top(features), self.encoder.top[-1])  # type: ignore[arg-type]  # both end in a convolution
        above = top(self.encoder.top(features)).value
        bottom.fit(self.encoder.bottom(features, above), self.encoder.details[-1])  # type: ignore[arg-type]

    def quantise(self, image: Tensor) -> dict[str, tuple[Tensor, Quantised]]:
        """Return vectors (N, D, h, w) of images and the codes that replace them, of the top and of the bottom."""
        features = self.encoder.features(image)
        top, bottom = self.quantisers().values()
        z = self.encoder.top(features)
        above = top(z)
        below = self.encoder.bottom(features, above.value)
        return {"top": (z, above), "bottom": (below, bottom(below))}

    def joined(self, top: Tensor, bottom: Tensor) -> Tensor:
        """Return what the decoder takes of the vectors of both codes, (N, 2 D, h, w)."""
        return torch.cat([enlarged(top, bottom), bottom], 1)

    def tokens(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the codes of each image, (N, h', w') int64 of the top and (N, h, w) of the bottom."""
        found = self.quantise(image)
        return found["top"][1].number, found["bottom"][1].number

    def embed(self, index: tuple[Tensor, Tensor]) -> Tensor:
        top, bottom = (each.lookup(codes) for each, codes in zip(self.quantisers().values(), index))
        return self.joined(top, bottom)

    def by_level(self, index: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        return {"top": index[0], "bottom": index[1]}

    @property
    def sizes(self) -> dict[str, int]:
        return {"top": self.levels, "bottom": self.levels}

    def costs(
        self, index: tuple[Tensor, Tensor], label: Tensor | None = None, learned: bool | None = None
    ) -> dict[str, Tensor]:
        top, bottom = index
        images = self.as_image(bottom, self.grid)
        label = label if self.conditional else None
        if self.learned if learned is None else learned:
            below = self.bottom_prior.log_prob(images, top, label)
        else:
            below = self.bottom_uniform.log_prob(images)
        return {"top": super().costs(top, label, learned)[""], "bottom": -below}

    def uniform_nats(self) -> Tensor:
        return self.uniform.total + self.bottom_uniform.total

    def drawn(self, n: int, label: Tensor | None, generator: Generator | None) -> tuple[Tensor, Tensor]:
        top = super().drawn(n, label, generator)
        if self.learned:
            maps = self.bottom_prior.sample(top, label, generator)
        else:
            maps = self.bottom_uniform.sample(n, generator=generator)
        return top, self.grid.level(maps).long().squeeze(1)

    def decode(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return self.decoder(z)

    def quantisers(self) -> dict[str, Quantiser]:
        return dict(self.quantiser.items())  # type: ignore[arg-type]  # they are the ones of __init__


class Encoder(nn.Module):
    """From images to vectors of the top, and with the top's codes to those of the bottom."""

    def __init__(self, channels: int, width: int, blocks: int, residual: int, dim: int) -> None:
        super().__init__()

        def rest(first: nn.Conv2d) -> nn.Sequential:
            return nn.Sequential(
                first, *(Residual(width, residual) for _ in range(blocks)), nn.ReLU(), nn.Conv2d(width, dim, 1)
            )

        self.features = encoder(channels, width, blocks, residual, width)
        self.top = nn.Sequential(nn.ReLU(), *rest(nn.Conv2d(width, width, 3, 2, 1)))
        self.details = rest(nn.Conv2d(width + dim, width, 3, padding=1))
        for module in (*self.top.modules(), *self.details.modules()):
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def bottom(self, features: Tensor, top: Tensor) -> Tensor:
        """Return vectors of the bottom, (N, D, h, w), from features (N, width, h, w) and the top's (N, D, h', w')."""
        return self.details(torch.cat([features, enlarged(top, features)], 1))


class BottomPrior(nn.Module):
    """The prior of the bottom's codes given the top's: a stack of residual blocks over the top, and a network.

    Args:
        prior: see VQVAE2.
        maps: spec of the bottom's codes.
        codes: number of codes of the top.
        width, blocks, residual: of the stack.
        conditional: whether the network depends on the class.

    Raises:
        UsageError: the network takes no map as a condition, and is not uniform.
    """

    def __init__(
        self,
        prior: Callable[..., Explicit],
        maps: ImageSpec,
        codes: int,
        width: int,
        blocks: int,
        residual: int,
        conditional: bool,
    ) -> None:
        super().__init__()
        takes = inspect.signature(prior).parameters
        given = {"context": width} if "context" in takes else {}
        self.network = prior(maps, Categorical, **given, **({"conditional": conditional} if conditional else {}))
        if isinstance(self.network, UniformCodes):
            return
        if not given:
            raise UsageError(
                f"model.prior: {type(self.network).__name__} cannot see the codes of the top; use "
                "prior@model.prior=gated_pixelcnn, or uniform"
            )
        self.table = nn.Embedding(codes, width)
        self.stack = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), *(Residual(width, residual) for _ in range(blocks)), nn.ReLU()
        )

    def given(self, top: Tensor, label: Tensor | None, like: Tensor) -> Located:
        """Return what maps (N, 1, h, w) are conditioned on: classes, and features of the top's codes (N, h', w')."""
        return Located(label, enlarged(self.stack(self.table(top).movedim(-1, 1)), like))

    def log_prob(self, image: Tensor, top: Tensor, label: Tensor | None) -> Tensor:
        """Return log p of maps of codes, (N, 1, h, w) in [-1, 1], given the top's: (N,) nats."""
        return self.network.log_prob(image, self.given(top, label, image))  # type: ignore[arg-type]

    @torch.no_grad()
    def sample(self, top: Tensor, label: Tensor | None, generator: Generator | None = None) -> Tensor:
        """Draw maps of codes, (N, 1, h, w) in [-1, 1], one for each of the top's (N, h', w')."""
        like = torch.empty(len(top), *self.network.spec.shape, device=top.device)
        given: Any = self.given(top, label, like)
        return self.network.sample(len(top), label=given, generator=generator)

    def set_sampling(self, temperature: Above = 1.0, sampler: Literal["naive"] | str | None = None) -> None:
        """See Autoregressive."""
        self.network.set_sampling(temperature=temperature, sampler=sampler)  # type: ignore[call-arg]


def enlarged(top: Tensor, like: Tensor) -> Tensor:
    """Double a map (N, D, h', w') by nearest neighbours, and cut off what reaches beyond (..., h, w)."""
    return interpolate(top, scale_factor=2.0)[:, :, : like.shape[2], : like.shape[3]]
