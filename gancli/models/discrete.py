"""The family of models whose latents are maps of codes, trained in two stages of one run: van den Oord et al. 2017.

First the autoencoder is trained, then a prior of its codes: one of this project's autoregressive networks, which embeds
the codes, since they have no order. Until then, and with ``prior@model.prior=uniform`` for good, the prior is uniform.
The code of an image is certain, so that log p(x) >= log p(x|z) + log p(z) is a bound without an entropy (section 3.2).
"""

import inspect
import math
from abc import abstractmethod
from collections.abc import Callable, Hashable, Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Generator, Tensor

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.explicit import Explicit
from gancli.models.held_out import Answer, HeldOut
from gancli.models.latent import LatentVariable, Posterior
from gancli.nn.likelihoods import Categorical, Likelihood
from gancli.nn.quantisers import Quantiser, used
from gancli.ranges import Above

Begun = Annotated[float, "> 0", "< 1"]


class UniformCodes(Explicit):
    """Every map of codes is equally likely: the prior of a VQ-VAE while its autoencoder is trained.

    Args:
        spec: shape and number of the codes.
        likelihood: what autoregressive priors are given; unused.
    """

    sampled = ()
    total: Tensor

    def __init__(self, spec: ImageSpec, likelihood: Callable[..., Likelihood] = Categorical) -> None:
        super().__init__(spec)
        nats = math.prod(spec.shape) * math.log(spec.levels)
        self.register_buffer("total", torch.tensor(nats), persistent=False)

    def log_prob(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        return -self.total.expand(len(image))

    def sample(
        self, n: int, *, label: Tensor | None = None, source: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        levels, shape = self.spec.levels, (n, *self.spec.shape)
        index = torch.randint(levels, shape, device=self.device, generator=generator)
        return Categorical(levels).value(index.float())


class DiscreteLatents(LatentVariable):
    """A latent-variable model whose code of an image is a map (h, w) of ``codes.levels`` numbers.

    A subclass may have several maps with a prior of each given those before it: its codes are a tuple of maps in
    tokens(), embed() and cost(), each with a name in by_level().

    Args:
        spec: shape, levels and classes of the images.
        likelihood: see LatentVariable.
        prior: called with the spec of the codes and their likelihood to build the prior.
        codes: number of codes, and height and width of their map.
        conditional: whether the prior depends on the class; None: where the data has classes and the prior takes one.
        autoencoder: share of the run in which the autoencoder is trained; the prior is trained in the rest.
    """

    certain = True
    sampled: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "prior_network")
    views = ("grid", "reconstruction", "codes")
    priors: ClassVar[tuple[str, ...]] = ("prior_network",)  # the networks of the second stage
    prior_network: Explicit

    def __init__(
        self,
        spec: ImageSpec,
        likelihood: Callable[..., Likelihood] | None,
        prior: Callable[..., Explicit],
        codes: tuple[int, int, int],
        conditional: bool | None = None,
        autoencoder: Begun = 0.5,
    ) -> None:
        takes = "conditional" in inspect.signature(prior).parameters
        super().__init__(spec, likelihood, takes and spec.num_classes > 1 if conditional is None else conditional)
        if self.conditional and not takes:
            raise UsageError(
                "model.conditional=true: this prior takes no class; use prior@model.prior=gated_pixelcnn, or "
                "model.conditional=null"
            )
        levels, height, width = codes
        maps = ImageSpec(1, height, width, num_classes=spec.num_classes, levels=levels, nominal=True)
        self.levels, self.autoencoder = levels, autoencoder
        self.prior_network = prior(maps, Categorical, **({"conditional": self.conditional} if takes else {}))
        self.uniform = UniformCodes(maps)
        self.grid = Categorical(levels)  # of maps of codes, in [-1, 1] like images
        self.learned = False  # whether the prior has begun to learn

    @property
    def learns_prior(self) -> bool:
        """Whether there is a second stage."""
        return not isinstance(self.prior_network, UniformCodes)

    @property
    def current_prior(self) -> Explicit:
        """The prior of this stage."""
        return self.prior_network if self.learned else self.uniform

    def stage(self, share: float) -> Hashable:
        return self.learns_prior and share >= self.autoencoder

    def enter(self, stage: Hashable) -> None:
        self.learned = bool(stage)

    def set_sampling(
        self, draw: Literal["mean", "sample"] = "mean", temperature: Above = 1.0, sampler: str | None = None
    ) -> None:
        """Set the options of sample().

        Args:
            draw: mean: images are the means of p(x|z); sample: they are drawn from it, pixel by pixel.
            temperature: of the codes: below 1 favours likely ones, above 1 unlikely ones.
            sampler: of the codes: naive, cache, wavefront or jacobi; None: the prior's own.

        Raises:
            UsageError: the prior is uniform, so that it has neither temperature nor sampler, or the sampler is unknown.
        """
        self.draw = draw
        if self.learned:
            for name in self.priors:
                getattr(self, name).set_sampling(temperature=temperature, sampler=sampler)
        elif temperature != 1 or sampler is not None:
            raise UsageError("temperature, sampler: the prior of these codes is uniform and has neither; omit them")

    @abstractmethod
    def tokens(self, image: Tensor) -> Any:
        """Return the code of each image, (N, C, H, W) -> (N, h, w) int64."""

    @abstractmethod
    def embed(self, index: Any) -> Tensor:
        """Return what the decoder takes, (N, h, w) int64 -> (N, ...)."""

    def by_level(self, index: Any) -> dict[str, Tensor]:
        """Return the maps of codes by name, (N, h, w) int64 each, in the order of the priors; a single one has none."""
        return {"": index}

    def quantisers(self) -> Mapping[str, Quantiser]:
        """Return the quantiser of every map, by its name; none if codes are not those of vectors."""
        return {}

    def vectors(self) -> dict[str, Tensor]:
        """Return what the decoder takes for each code of every map, by its name: (K, D)."""
        found = {name: each.vectors() for name, each in self.quantisers().items()}
        return found or {"": self.embed(torch.arange(self.levels, device=self.device).view(-1, 1, 1)).flatten(1)}

    @property
    def sizes(self) -> dict[str, int]:
        """The number of codes of every map, by its name."""
        return {"": self.levels}

    def costs(self, index: Any, label: Tensor | None = None, learned: bool | None = None) -> dict[str, Tensor]:
        """Return -log p of every map of codes, given those before it, by its name: (N,) nats each.

        Args:
            index: codes, as in tokens().
            label: (N,) int64, for a conditional model.
            learned: by the priors that learn, or by the uniform ones; None: by those of this stage.
        """
        prior = self.prior_network if (self.learned if learned is None else learned) else self.uniform
        return {"": -prior.log_prob(self.as_image(index, self.grid), label if self.conditional else None)}

    def cost(self, index: Any, label: Tensor | None = None) -> Tensor:
        """Return -log p(z) of codes by the prior of this stage, (N,) nats."""
        return torch.stack([*self.costs(index, label).values()]).sum(0)

    def uniform_nats(self) -> Tensor:
        """Return -log p(z) of any codes by the uniform prior, () nats."""
        return self.uniform.total

    def as_image(self, index: Tensor, grid: Categorical) -> Tensor:
        """Return a map of codes as its prior takes it, (N, h, w) -> (N, 1, h, w) in [-1, 1]."""
        return grid.value(index.unsqueeze(1).to(self.uniform.total.dtype))

    def encode(
        self, image: Tensor, label: Tensor | None = None, k: int = 1, generator: Generator | None = None
    ) -> Posterior:
        index = self.tokens(image)
        z = self.embed(index)
        return Posterior(z.repeat(k, *[1] * (z.dim() - 1)), self.cost(index, label), {})

    def skip_codes(self, image: Tensor, label: Tensor | None, k: int, generator: Generator) -> None:
        """Draw nothing: the code of an image is certain."""

    def code(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        return self.embed(self.tokens(image))

    def prior(self, n: int, generator: Generator | None = None, label: Tensor | None = None) -> Tensor:
        label = self.labels(n, generator) if label is None else label
        return self.embed(self.drawn(n, label if self.conditional else None, generator))

    def drawn(self, n: int, label: Tensor | None, generator: Generator | None) -> Any:
        """Draw n codes from the prior of this stage, as in tokens()."""
        return self.grid.level(self.current_prior.sample(n, label=label, generator=generator)).long().squeeze(1)

    def bound(
        self, image: Tensor, label: Tensor | None = None, k: int = 1, generator: Generator | None = None
    ) -> Tensor:
        """Return log p(x|z) + log p(z) of the code of each image, (N,) nats, whatever k: it is always the same code."""
        return super().bound(image, label, 1, generator)

    def held_out(self) -> HeldOut:
        name = type(self.current_prior).__name__
        found = super().held_out()
        how = f"ELBO of the code of each image; prior: {name}" if self.bounded else ""
        of_codes = {"codes": Answer(self._counted), "code_nats": Answer(self._priced)}
        also: dict[str, Callable[[Tensor, Tensor | None], Tensor]] = {**found.also, **of_codes}
        return found._replace(how=how, also=also, maps=self.sizes)

    def _counted(self, image: Tensor, label: Tensor | None) -> Tensor:
        """Return how often each code occurs in images, (N, K): those of one map after those of another."""
        sizes, maps = self.sizes, self.by_level(self.tokens(image))
        counts = [torch.stack([used(each, sizes[name]) for each in index]) for name, index in maps.items()]
        return torch.cat(counts, 1)

    def _priced(self, image: Tensor, label: Tensor | None) -> Tensor:
        """Return -log p of each map of codes of images, (N, maps) nats."""
        return torch.stack([*self.costs(self.tokens(image), label).values()], 1)
