"""The families of image-to-image translation models."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.base import Model


class Translation(Model):
    """Networks that map images of one domain to another, trained by ``losses/translation.py``.

    A training batch holds ``source`` of domain a and ``image`` of domain b, or labelled images alone.

    Raises:
        UsageError: the data has only one domain.
    """

    sampled = ("generators",)
    translates = True
    views = ("translation",)
    generators: nn.ModuleDict
    discriminators: nn.ModuleDict
    needs: ClassVar[str] = "data=unpaired data/a=shapes data/b=digits"  # arguments that select suitable data
    mixes_batches: ClassVar[bool] = False  # whether a translation depends on the other images of its batch
    multiple: int = 1  # the sides of an image given to translate() must be multiples of this

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__(spec)
        if not self._fits(spec):
            raise UsageError(f"{type(self).__name__} cannot learn from this data: choose, for instance, {self.needs}")

    def _fits(self, spec: ImageSpec) -> bool:
        return spec.source_channels > 0

    @property
    @abstractmethod
    def directions(self) -> tuple[str, ...]:
        """The directions that translate() accepts."""

    @abstractmethod
    def translate(self, source: Tensor, direction: str, generator: Generator | None = None) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] to the other domain; the shape stays the same."""

    def skip_translation(self, source: Tensor, direction: str, generator: Generator) -> None:
        """Leave a generator as translate() leaves it: here, which draws no random numbers, as it is.

        Processes that evaluate together pass over the images of the others by it.
        """

    def sample(
        self, n: int, *, label: Tensor | None = None, source: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Translate the first n images of ``source`` in the first direction."""
        if source is None:
            raise UsageError(f"{type(self).__name__} translates images: name a folder of them with source=...")
        return self.translate(source[:n], self.directions[0], generator)


class Cyclic(Translation):
    """A generator for each direction between domains a and b, and a discriminator for each domain."""

    directions = ("a2b", "b2a")

    def translate(self, source: Tensor, direction: str, generator: Generator | None = None) -> Tensor:
        return self.generators[direction](source)

    def score(self, image: Tensor, domain: str) -> Tensor:
        """Return the logits of domain ``a`` or ``b``'s discriminator, one per patch, (N, 1, H', W')."""
        return self.discriminators[domain](image)


class Paired(Translation):
    """One generator from a to b, and a discriminator that sees pairs of images."""

    directions = ("a2b",)
    needs = "data=paired data.root=..."

    def _fits(self, spec: ImageSpec) -> bool:
        return spec.paired

    def score(self, source: Tensor, image: Tensor) -> Tensor:
        """Return the discriminator's logits for pairs of images, one per patch, (N, 1, H', W')."""
        return self.discriminators["b"](torch.cat([source, image], 1))


class MultiDomain(Translation):
    """One generator to every domain (the data's classes), and a discriminator that also classifies the domain."""

    needs = "data=domains data.root=... or data=shapes data.label=colour"

    def _fits(self, spec: ImageSpec) -> bool:
        return spec.num_classes > 1

    @property
    def directions(self) -> tuple[str, ...]:
        """The numbers of the target domains."""
        return tuple(str(domain) for domain in range(self.spec.num_classes))

    @abstractmethod
    def move(self, image: Tensor, label: Tensor) -> Tensor:
        """Map images (N, C, H, W) to the domains given by ``label``, (N,)."""

    @abstractmethod
    def judge(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return one logit per patch, (N, 1, H', W'), and the domain logits, (N, num_classes)."""

    def translate(self, source: Tensor, direction: str, generator: Generator | None = None) -> Tensor:
        return self.move(source, torch.full((len(source),), int(direction), device=source.device))

    def sample(
        self, n: int, *, label: Tensor | None = None, source: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """Translate the first n images of ``source`` to the domains in ``label``, by default to domain 0."""
        if source is None or label is None:
            return super().sample(n, source=source, generator=generator)
        return self.move(source[:n], label)
