"""Style-based models: Karras et al. 2019, A Style-Based Generator Architecture for Generative Adversarial Networks.

A mapping network turns latents z into styles w, and a synthesis network turns one style per layer, ws, into an image.

- Style mixing (section 3.1): in training, the layers from a random one on get the style of other latents, so that they
  do not rely on what the layers before them are given.
- Truncation in W (appendix B): w_bar + psi (w - w_bar), with w_bar the mean style. It is computed from 10,000 latents
  by the mapping network that samples, rather than tracked in training: the average of the weights has another mean than
  the average over the training. A conditional model has a mean per class: around the mean of all classes, which is a
  style of none, truncation would blur the classes.

    gancli sample ckpt=latest truncation=0.7
"""

from collections.abc import Mapping
from typing import NamedTuple, cast

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.base import Model, NormalPrior
from gancli.ranges import Positive, Share

MEAN_OF, MEAN_SEED = 10_000, 123  # latents behind a mean style, and their seed: those of NVIDIA's projector


class Moments(NamedTuple):
    """Where styles lie: one row, or one per class."""

    mean: Tensor  # w_bar, (1, d) or (classes, d)
    spread: Tensor  # root mean square of |w - w_bar|, (1,) or (classes,)


class StyleGenerator(nn.Module):
    """A mapping and a synthesis network, which EMA, optimizers and penalties see as one generator.

    Args:
        mapping: latents (N, latent_dim) and labels (N,) or None -> styles (N, d).
        synthesis: styles (N, styles, d) -> images (N, C, H, W).
        styles: number of styles that the synthesis network takes.
    """

    def __init__(self, mapping: nn.Module, synthesis: nn.Module, styles: int) -> None:
        super().__init__()
        self.mapping, self.synthesis, self.styles = mapping, synthesis, styles

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """(N, latent_dim), (N,) -> (N, C, H, W), with the same style in all layers."""
        return self.synthesis(self.mapping(z, label)[:, None].expand(-1, self.styles, -1))


class StyleBased(NormalPrior):
    """A model whose generator is a StyleGenerator; subclasses build ``generator`` and ``discriminator``.

    Args:
        spec: shape of the images.
        latent_dim: number of normal latents.
        mixing: probability that a batch mixes two styles in training.
    """

    generator: StyleGenerator
    truncations = Model.truncations  # factors of styles, while those of NormalPrior are thresholds of latents

    def __init__(self, spec: ImageSpec, latent_dim: int, mixing: Share = 0.0) -> None:
        super().__init__(spec, latent_dim)
        self.mixing = mixing
        self.truncation: float | None = None
        self.cutoff: int | None = None
        self._moments: tuple[list[tuple[int, int]], Moments] | None = None

    @property
    def styles(self) -> int:
        """The number of styles that an image is made of; models that grow have fewer before."""
        return self.generator.styles

    def latent(self, n: int, generator: Generator | None = None) -> Tensor:
        """Standard normal, (n, latent_dim), whatever the truncation, which is one of styles."""
        return torch.randn(n, self.latent_dim, device=self.device, generator=generator)

    def set_sampling(self, truncation: float | None = None, cutoff: Positive | None = None) -> None:
        """Set the truncation that style() uses from now on.

        Args:
            truncation: psi, 0 or more: the factor of a style's distance to the mean style; 0: all images (of a class)
                are the same, None or 1: no truncation.
            cutoff: number of layers, from the seed on, whose styles are truncated; None: all.

        Raises:
            UsageError: a cutoff without a truncation, or above the number of layers.
        """
        if cutoff is not None and truncation is None:
            raise UsageError(f"cutoff={cutoff} says where truncation ends, but there is none; add truncation=0.7")
        if cutoff is not None and cutoff > self.styles:
            raise UsageError(f"cutoff={cutoff}: the model has {self.styles} styles; use 1 to {self.styles}")
        self.truncation, self.cutoff = truncation, cutoff

    def style(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Map latents, and labels if the model is conditional, to the styles of all layers, truncated if so set.

        (n, latent_dim), (n,) -> (n, styles, d).
        """
        w = self.generator.mapping(z, label)
        return self._truncated(w[:, None].expand(-1, self.styles, -1), label)

    def synthesise(self, ws: Tensor, noise: Mapping[str, Tensor] | None = None) -> Tensor:
        """Map styles to images. (n, styles, d) -> (n, C, H, W).

        Args:
            ws: the styles.
            noise: maps by the names of noise_maps(), (n, 1, H, W) each, in place of the constant ones of eval mode.
        """
        synthesis = self.generator.synthesis
        return functional_call(synthesis, dict(noise), (ws,)) if noise else synthesis(ws)

    def noise_maps(self) -> dict[str, Tensor]:
        """Return the constant noise of the synthesis network's layers by its name there, (H, W) each."""
        buffers = dict(self.generator.synthesis.named_buffers())
        return {name: each for name, each in buffers.items() if name.rpartition(".")[2] == "noise"}

    def generate(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Map latents, and labels if the model is conditional, to images, (N, C, H, W); mixes styles in training."""
        return self.synthesise(self.mixed_style(z, label))

    def sample(
        self, n: int, *, label: Tensor | None = None, source: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        # The papers' networks end without a tanh; training sees their values, and samples are clipped as files would.
        return super().sample(n, label=label, source=source, generator=generator).clamp(-1, 1)

    def mixed_style(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Return style(); in training, with probability ``mixing``, that of other latents from a random layer on."""
        ws = self.style(z, label)
        if not (self.generator.training and self.mixing and self.styles > 1):
            return ws
        cutoff = torch.randint(1, self.styles, (), device=ws.device)
        cutoff = torch.where(torch.rand((), device=ws.device) < self.mixing, cutoff, self.styles)
        return crossed(ws, self.style(torch.randn_like(z), label), cutoff)

    def mean_style(self) -> Tensor:
        """Return w_bar, (1, d), or that of each class, (classes, d); see style_moments()."""
        return self.style_moments().mean

    @torch.no_grad()
    def style_moments(self) -> Moments:
        """Return the mean style and the spread around it; computed again only if the weights have changed.

        They are those of MEAN_OF latents, the same for every class, whose seed is fixed.
        """
        state = [(p.data_ptr(), p._version) for p in self.generator.mapping.parameters()]
        if self._moments is None or self._moments[0] != state:
            z = torch.randn(MEAN_OF, self.latent_dim, generator=torch.Generator().manual_seed(MEAN_SEED))
            z = z.to(next(self.generator.mapping.parameters()))
            classes = self.spec.num_classes if self.conditional else 0
            labels = torch.arange(classes, device=z.device)[:, None].expand(-1, MEAN_OF) if classes else [None]
            means, spreads = [], []
            for label in labels:
                w = self.generator.mapping(z, label)
                means.append(w.mean(0))
                spreads.append((w - means[-1]).square().sum(1).mean().sqrt())
            self._moments = state, Moments(torch.stack(means), torch.stack(spreads))
        return self._moments[1]

    def _truncated(self, ws: Tensor, label: Tensor | None) -> Tensor:
        if self.truncation is None or self.truncation == 1:
            return ws
        mean = self.mean_style()
        mean = (mean[cast(Tensor, label)] if self.conditional else mean)[:, None]
        near = mean + self.truncation * (ws - mean)
        return near if self.cutoff is None else torch.cat([near[:, : self.cutoff], ws[:, self.cutoff :]], 1)


def crossed(first: Tensor, second: Tensor, cutoff: Tensor | int) -> Tensor:
    """Return the styles of ``first`` in layers below ``cutoff``, and of ``second`` from there on, (n, styles, d).

    The cutoff may be a () tensor: unlike a slice, the comparison does not wait for the device.
    """
    return torch.where((torch.arange(first.shape[1], device=first.device) < cutoff)[:, None], first, second)
