"""What a model says of held-out images: their negative log-likelihood, of which kind that is, and more."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from torch import Generator, Tensor

from gancli.models.shares import Passing, Share

Kind = Literal["exact", "density", "bound", "none"]


def nothing(*args: Any) -> None:
    """Draw nothing."""


@dataclass(frozen=True)
class Answer:
    """What a model says of images, with the random numbers that it takes, so that several processes can share images.

    Args:
        ask: maps images (N, C, H, W) in [-1, 1] and labels (N,) or None to what is said of them, (N, ...).
        skip: draws what ``ask`` draws of the same arguments, and computes nothing more than that takes.
        generators: from which both draw.
    """

    ask: Callable[[Tensor, Tensor | None], Tensor]
    skip: Callable[[Tensor, Tensor | None], Any] = nothing
    generators: Sequence[Generator] = ()

    def __call__(self, image: Tensor, label: Tensor | None) -> Tensor:
        """Return what is said of images."""
        return self.ask(image, label)


class HeldOut(NamedTuple):
    """The negative log-likelihood of images under a model.

    There are three kinds, and numbers of different kinds must not be compared; a model without any says other things:

    - ``exact``: from a probability of the pixels' levels;
    - ``density``: from a density on [0, 1]^D;
    - ``bound``: an upper bound, in expectation, on the first, or on the second if ``spread``;
    - ``none``: the model has no likelihood of pixels, and reconstructs them all the same.

    Args:
        nats: maps images (N, C, H, W) in [-1, 1] and labels (N,) or None to nats (N,); None: of the kind ``none``.
            Several processes share the images if it is an Answer; of another function, each computes all.
        kind: one of these.
        levels: number of values of a channel that the model knows; images with another number of levels are refused.
        spread: number of levels whose intervals of [0, 1] ``nats`` fills with uniform noise, so that the density bounds
            the probability of the levels (Theis et al. 2016, arXiv 1511.01844, section 3.1); 0: the pixels stay as they
            are.
        how: how the number is computed, for the protocol: ``IWAE, k=5000``.
        also: what else the model says of images, by name, like ``nats``; of latent-variable models ``elbo``, (N, 2):
            reconstruction and KL; ``iwae``, (N,): the bound with k codes; ``latents``, (N, d): their means;
            ``pictures``, (N, C, H, W) in [-1, 1]: the reconstructions; ``errors``, (N, 2): their absolute errors and
            PSNR; ``codes``, (N, K): how often each code occurs; ``code_nats``, (N, maps): -log p of each map of codes.
        k: codes per image of ``iwae``.
        maps: number of codes of each map of codes by name, in the order of ``codes`` and ``code_nats``; a single one is
            called "".
    """

    nats: Callable[[Tensor, Tensor | None], Tensor] | None
    kind: Kind
    levels: int
    spread: int = 0
    how: str = ""
    also: Mapping[str, Callable[[Tensor, Tensor | None], Tensor]] = MappingProxyType({})
    k: int = 0
    maps: Mapping[str, int] = MappingProxyType({})

    def ask(self, name: str, image: Tensor, label: Tensor | None) -> Tensor:
        """Return ``nats``, or something of ``also``, of images (N, C, H, W) with labels (N,) or None."""
        return self.says[name](image, label)

    def part(self, name: str, share: Share | None) -> Passing[Tensor]:
        """Return what ask() says of the images of a share, batch by batch, and passes over the others."""
        said = self.says[name]
        if isinstance(said, Answer):
            return Passing(said, said.skip, said.generators, share, name)
        return Passing(said, said, (), share, name)

    @property
    def says(self) -> Mapping[str, Callable[[Tensor, Tensor | None], Tensor]]:
        """Everything that ask() answers, by name."""
        return self.also if self.nats is None else {"nats": self.nats, **self.also}
