"""The directions in which a model translates the images of a split."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from gancli.data.access import part_of
from gancli.data.reading import counterfactual
from gancli.data.shapes import Factors, render
from gancli.data.source import Images, fingerprint
from gancli.data.spec import scaled
from gancli.errors import TrainingDiverged, UsageError
from gancli.models.shares import Passing, Share
from gancli.models.translation import MultiDomain, Translation


@dataclass(frozen=True)
class Direction:
    """A translation from one domain to another."""

    name: str
    direction: str  # its name for translate()
    source: Images  # the images to translate
    target: Images  # images of the target domain
    factors: Factors | None  # factors of the true translations, where they are known exactly
    truth: np.ndarray | None  # (N, C, H, W) uint8, the true translations

    def __len__(self) -> int:
        return len(self.source)


def check_images(model: Translation, images: Images) -> None:
    """Refuse images whose size or domains differ from the model's. Raises UsageError."""
    spec, own = images.spec, model.spec
    shape = (spec.shape, spec.source_channels, spec.num_classes if isinstance(model, MultiDomain) else 0)
    if shape != (own.shape, own.source_channels, own.num_classes if isinstance(model, MultiDomain) else 0):
        raise UsageError(f"{images.name} has other images or domains than {type(model).__name__} was trained on")


def directions(model: Translation, images: Images) -> list[Direction]:
    """Return the directions in which a model translates a split, in the model's order.

    Raises:
        UsageError: see check_images().
    """
    check_images(model, images)
    if isinstance(model, MultiDomain):
        assert images.labels is not None, "the labels are the domains"
        found = []
        for domain, name in enumerate(images.class_names):
            here = images.labels == domain
            found.append(_direction(f"to_{name}", str(domain), subset(images, ~here), subset(images, here)))
        return [each for each in found if len(each.source) and len(each.target)]
    a, b = domains(images)
    both = {"a2b": (a, b), "b2a": (b, a)}
    return [_direction(name, name, *both[name], paired=images.spec.paired) for name in model.directions]


def domains(images: Images) -> tuple[Images, Images]:
    """Return the images of domain a and those of domain b."""
    assert images.source is not None, "a spec with source channels has sources"
    return images.source, replace(images, source=None, spec=replace(images.spec, source_channels=0, paired=False))


def subset(images: Images, mask: np.ndarray) -> Images:
    """Return the images that the mask selects."""
    pixels, labels = part_of(images.pixels, mask), None if images.labels is None else images.labels[mask]
    factors = None if images.factors is None else images.factors[mask]
    return replace(images, pixels=pixels, labels=labels, factors=factors, fingerprint=fingerprint(pixels, labels))


def _direction(name: str, direction: str, source: Images, target: Images, paired: bool = False) -> Direction:
    if paired:
        shown = target.factors if target.spec.channels == 3 else None
        return Direction(name, direction, source, target, shown, target.pixels)
    known = source.factors is not None and target.factors is not None and len(source) and len(target)
    found = counterfactual(source.factors, target.factors) if known and target.spec.channels == 3 else None
    if found is not None:
        return Direction(name, direction, source, target, found, render(found, target.spec.height))
    return Direction(name, direction, source, target, None, None)


@torch.no_grad()
def translations(
    model: Translation, direction: Direction, n: int, *, seed: int, batch_size: int,
    autocast: Callable[[], AbstractContextManager] = nullcontext, share: Share | None = None,
) -> Iterator[tuple[slice, Tensor, Tensor]]:  # fmt: skip
    """Translate the first n images of a direction: rows, sources and translations, both (b, C, H, W) in [-1, 1].

    With ``share``, only its batches are translated and yielded, and each is what it would be without the others.

    Raises:
        TrainingDiverged: an image is not finite.
    """
    generator = torch.Generator(model.device).manual_seed(seed)
    name = f"{type(model).__name__}.translate()"
    part = Passing(model.translate, model.skip_translation, [generator], share, name)
    for start in range(0, n, batch_size):
        rows = slice(start, min(n, start + batch_size))
        source = scaled(torch.from_numpy(direction.source.pixels[rows]).to(model.device))
        with autocast():
            found = part(source, direction.direction, generator)
        if found is None:
            continue
        if not (found := found.float()).isfinite().all():
            raise TrainingDiverged("the model makes images that are not finite; use an earlier checkpoint")
        yield rows, source, found
