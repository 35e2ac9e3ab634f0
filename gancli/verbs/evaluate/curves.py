"""Scores as a curve, with their noise floor: over the images that checkpoints had seen, or over a sampling option.

gancli eval ckpt=latest which=all
gancli eval ckpt=latest 'truncation=[null,2,1,0.5]' 'metrics=[fid,precision_recall]'
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gancli.metrics.scorecard import Point, drawn, named
from gancli.structure import is_spread
from gancli.views import figures

COLUMNS = 3  # panels side by side


def draw(
    points: Sequence[Point], floor: Mapping[str, Any], facts: Mapping[str, Any], path: Path, *, over: str = "images"
) -> None:
    """Write a PNG with a panel per value; seeds that were repeated give error bars of one deviation.

    Args:
        points: one per checkpoint, or per value of an option; one without the option is drawn as a line.
        floor: images and values of real images against other real ones; empty if they were not scored.
        facts: the protocol.
        path: of the PNG.
        over: ``images`` (seen in training), or the option of sampling that varies.
    """
    bare = [each for each in points if each.at is None]
    points = sorted((each for each in points if each.at is not None), key=lambda each: each.at)
    shown = points or bare
    keys = dict.fromkeys(key for each in shown for key in each.values if not is_spread(key))
    columns = min(COLUMNS, len(keys))
    figure, axes = figures.panels(-(-len(keys) // columns), columns, size=(4.2, 3.2))
    for axis, key in zip(axes.flat, keys):
        found = [each for each in points if np.isfinite(each.values.get(key, np.nan))]
        y = np.array([each.values[key] for each in found])
        errors = [each.spread.get(key, {}).get("std", 0.0) for each in found]
        bars = errors if any(errors) else None
        axis.errorbar([each.at for each in found], y, bars, marker="o", markersize=4, capsize=3, label="this run")
        levels = [y]
        for each in bare:
            level = each.values[key]
            axis.axhline(level, color=figures.COLOURS[1], linestyle=":", label=f"without {over}")
            levels.append(np.array([level]))
        if key in floor.get("values", {}):
            level = floor["values"][key]
            axis.axhline(level, color="black", linestyle="--", label=f"real images, n = {floor['images']:,}")
            levels.append(np.array([level]))
        if len(y):
            (figures.over_images if over == "images" else figures.scale_y)(axis, levels)
        figures.label(axis, named(key), "images seen" if over == "images" else over, named(key))
    for axis in list(axes.flat)[len(keys) :]:
        axis.set_axis_off()
    figures.source(figure, _source(facts, over))
    figures.save(figure, path)


def _source(facts: Mapping[str, Any], over: str) -> str:
    """Return what the values were measured on."""
    reference = f"{facts['dataset']} {facts['split']}"
    if facts["images_generated"] is None:  # no metric looks at images: the model was asked for its likelihood
        return f"{facts['images_reference']:,} images of {reference}, {facts['levels']}"
    direction = f"{facts['direction']}: " if "direction" in facts else ""
    features = facts["features"]["name"]
    fixed = {"sampling": {key: value for key, value in facts.get("sampling", {}).items() if key != over}}
    how = f"features {features}{drawn(fixed)}"
    return f"{direction}{facts['images_generated']:,} images against {reference}, {how}"
