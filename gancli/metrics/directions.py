"""The ways that a model translates the pictures of a split, and pictures of them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from gancli.data.reading import counterfactual
from gancli.data.shapes import Factors, render
from gancli.data.source import Images, Source, fingerprint
from gancli.data.spec import quantise, scaled
from gancli.errors import TrainingDiverged, UsageError
from gancli.models.translation import Cyclic, MultiDomain, Translation
from gancli.views.grids import make_grid

COLUMNS = 10  # pictures in a row, at most


@dataclass(frozen=True)
class Way:
    """From one domain to another."""

    name: str
    direction: str  # as translate() knows it
    source: Images  # what is translated
    target: Images  # the pictures of the domain that it is to belong to
    factors: Factors | None  # what a true translation shows, where that is known exactly
    truth: np.ndarray | None  # (N, C, H, W) uint8, the true translations

    def __len__(self) -> int:
        return len(self.source)


def ways(model: Translation, images: Images) -> list[Way]:
    """Return the ways that a model goes on a split, in the order of its directions.

    Raises:
        UsageError: the split's pictures are not those of the model: other domains or another size.
    """
    spec, own = images.spec, model.spec
    shape = (spec.shape, spec.source_channels, spec.num_classes if isinstance(model, MultiDomain) else 0)
    if shape != (own.shape, own.source_channels, own.num_classes if isinstance(model, MultiDomain) else 0):
        raise UsageError(f"{images.name} has other pictures or domains than {type(model).__name__} was trained on")
    if isinstance(model, MultiDomain):
        found = []
        for domain, name in enumerate(images.class_names):
            here = images.labels == domain
            found.append(_way(f"to_{name}", str(domain), subset(images, ~here), subset(images, here)))
        return [way for way in found if len(way.source) and len(way.target)]
    a, b = domains(images)
    both = {"a2b": (a, b), "b2a": (b, a)}
    return [_way(name, name, *both[name], paired=spec.paired) for name in model.directions]


def domains(images: Images) -> tuple[Images, Images]:
    """Return the pictures of domains a and b by themselves."""
    return images.source, replace(images, source=None, spec=replace(images.spec, source_channels=0, paired=False))


def subset(images: Images, mask: np.ndarray) -> Images:
    """Return some of the pictures."""
    pixels, labels = images.pixels[mask], None if images.labels is None else images.labels[mask]
    factors = None if images.factors is None else images.factors[mask]
    return replace(images, pixels=pixels, labels=labels, factors=factors, fingerprint=fingerprint(pixels, labels))


def _way(name: str, direction: str, source: Images, target: Images, paired: bool = False) -> Way:
    if paired:
        shown = target.factors if target.spec.channels == 3 else None
        return Way(name, direction, source, target, shown, target.pixels)
    known = source.factors is not None and target.factors is not None and len(source) and len(target)
    found = counterfactual(source.factors, target.factors) if known and target.spec.channels == 3 else None
    if found is not None:
        return Way(name, direction, source, target, found, render(found, target.spec.height))
    return Way(name, direction, source, target, None, None)


@torch.no_grad()
def translations(
    model: Translation, way: Way, n: int, *, seed: int, batch_size: int
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Translate the first n pictures of a way: rows, sources and translations, both (b, C, H, W) in [-1, 1].

    Raises:
        TrainingDiverged: a picture is not finite.
    """
    generator = torch.Generator(model.device).manual_seed(seed)
    for start in range(0, n, batch_size):
        rows = slice(start, min(n, start + batch_size))
        source = scaled(torch.from_numpy(way.source.pixels[rows]).to(model.device))
        found = model.translate(source, way.direction, generator)
        if not found.isfinite().all():
            raise TrainingDiverged("the model makes pictures that are not finite; take an earlier checkpoint")
        yield rows, source, found


def shown(source: Source) -> Images:
    """Return the split that pictures are shown of: test, or what there is."""
    for split in ("test", "validation"):
        try:
            return source.split(split)
        except UsageError:  # there is no such split
            continue
    return source.split("train")


@torch.no_grad()
def panels(model: Translation, images: Images, n: int, *, seed: int) -> dict[str, np.ndarray]:
    """Return pictures of the translations of a split's first images, (H, W, 3) uint8, by the names of the ways.

    Rows of source, translation, reconstruction and identity (what the way back makes of the source), and of the true
    translation where it is known; of several domains one picture: a row per source, a column per domain.
    """
    generator = torch.Generator(model.device).manual_seed(seed)
    n = min(n, COLUMNS)
    if isinstance(model, MultiDomain):
        source = scaled(torch.from_numpy(images.pixels[:n]).to(model.device))
        rows = [source, *(model.translate(source, direction, generator) for direction in model.directions)]
        across = torch.stack([quantise(row) for row in rows], 1).flatten(0, 1)
        return {"domains": make_grid(across, len(rows), heads=("source", *images.class_names))}
    found = {}
    for way in ways(model, images):
        source = scaled(torch.from_numpy(way.source.pixels[:n]).to(model.device))
        rows = {"source": source, "translation": model.translate(source, way.direction, generator)}
        if isinstance(model, Cyclic):
            back = next(each for each in model.directions if each != way.direction)
            rows["reconstruction"] = model.translate(rows["translation"], back, generator)
            if model.spec.channels == model.spec.source_channels:
                rows["identity"] = model.translate(source, back, generator)
        pictures = {name: quantise(row).cpu() for name, row in rows.items()}
        if way.truth is not None:
            pictures["truth"] = torch.from_numpy(np.ascontiguousarray(way.truth[:n]))
        deep = [row.expand(-1, 3, -1, -1) for row in pictures.values()]  # the domains may differ in channels
        found[way.name] = make_grid(torch.cat(deep), len(source), names=tuple(pictures))
    return found
