"""Pictures of translations."""

import numpy as np
import torch

from gancli.data.source import Images, Source
from gancli.data.spec import quantise, scaled
from gancli.errors import UsageError
from gancli.models.directions import directions
from gancli.models.translation import Cyclic, MultiDomain, Translation
from gancli.views.grids import make_grid

COLUMNS = 10  # pictures in a row, at most


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
    """Return pictures of the translations of a split's first images, (H, W, 3) uint8, by the names of the directions.

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
    for each in directions(model, images):
        source = scaled(torch.from_numpy(each.source.pixels[:n]).to(model.device))
        rows = {"source": source, "translation": model.translate(source, each.direction, generator)}
        if isinstance(model, Cyclic):
            back = next(other for other in model.directions if other != each.direction)
            rows["reconstruction"] = model.translate(rows["translation"], back, generator)
            if model.spec.channels == model.spec.source_channels:
                rows["identity"] = model.translate(source, back, generator)
        pictures = {name: quantise(row).cpu() for name, row in rows.items()}
        if each.truth is not None:
            pictures["truth"] = torch.from_numpy(np.ascontiguousarray(each.truth[:n]))
        deep = [row.expand(-1, 3, -1, -1) for row in pictures.values()]  # the domains may differ in channels
        found[each.name] = make_grid(torch.cat(deep), len(source), names=tuple(pictures))
    return found
