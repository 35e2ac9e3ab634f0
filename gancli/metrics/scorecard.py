"""The score card, a JSON per evaluation with the values and all that they depend on, and its form on the terminal."""

import csv
import json
import logging
import platform
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from gancli import __version__, structure
from gancli.config.legacy import renewed_protocol
from gancli.files import digest, inside, replacing
from gancli.metrics import moments
from gancli.metrics.base import MODEL
from gancli.metrics.features import Images
from gancli.metrics.registry import METRICS
from gancli.metrics.scorer import Scorer
from gancli.structure import is_spread, read_json

log = logging.getLogger("gancli")


def protocol(
    scorer: Scorer, reference: Images, subject: Mapping[str, Any], *, batch_size: int | None, device: torch.device,
    precision: str = "float32",
) -> dict[str, Any]:  # fmt: skip
    """Return all that the values depend on; results with the same protocol are the same.

    ``subject`` says what is scored: the checkpoint's hash, averaged or raw weights and seeds, or the images' hash.
    ``batch_size`` is None if the values do not depend on it.
    Cards of earlier releases are read by ``config.legacy.renewed_protocol``.
    """
    libraries = ("torch", "torchvision", "numpy", "pytorch-fid")
    constants = {key: value for metric in scorer.metrics for key, value in metric.constants.items()}
    known = {} if scorer.known is None else {"reference_statistics": _hash(scorer.known)}
    n = len(reference) if scorer.known is None else scorer.known.n
    return {
        "metrics": sorted(metric.name for metric in scorer.metrics),
        "images_generated": scorer.n if scorer.draws else None,
        "images_reference": None if n == moments.UNKNOWN else n,
        "dataset": reference.name,
        "split": reference.split,
        "levels": reference.levels,
        "fingerprint": reference.fingerprint,
        **known,
        "resolution": list(reference.spec.shape),
        "features": scorer.features.protocol(),
        **constants,
        **subject,
        "batch_size": batch_size,
        "precision": precision,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "versions": {
            "gancli": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in libraries},
        },
    }


def _hash(gaussian: moments.Gaussian) -> str:
    return digest({"n": gaussian.n, "mean": gaussian.mean.tolist(), "trace": float(gaussian.cov.trace())})


def folded(runs: Sequence[Mapping[str, float]]) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Return the mean of every value over seeds, and the spread over seeds (nothing for one seed)."""
    means = {key: fmean(run[key] for run in runs) for key in runs[0]}
    if len(runs) == 1:
        return dict(runs[0]), {}
    each = {key: [run[key] for run in runs] for key in means}
    return means, {key: {"std": stdev(v), "low": min(v), "high": max(v)} for key, v in each.items()}


def intervals(values: Mapping[str, float], deviations: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Return 95 % intervals: where the values of as many other images from the same source would lie."""
    return {
        key: {"std": std, "low": values[key] - 1.96 * std, "high": values[key] + 1.96 * std}
        for key, std in deviations.items()
    }


def write(folder: Path, stem: str, facts: dict[str, Any], result: dict[str, Any], *, seconds: float) -> Path:
    """Write one result atomically and return its file; a result of another protocol is never overwritten.

    A card that training wrote is overwritten: for the same images it says the same, and less.
    """
    file = inside(folder, f"{stem}-{facts['features']['name']}.json")
    if file.exists() and _protocol_of(file) not in (facts, facts | {"checkpoint_sha256": None}):
        file = file.with_stem(f"{file.stem}-{digest(facts)[:8]}")
    written = {**result, "protocol": facts, "seconds": round(seconds, 1)}
    written["date"] = datetime.now().astimezone().isoformat(timespec="seconds")
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    return file


def find(folder: Path, stem: str, facts: dict[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the cards that write() has written with the same stem and facts, with their files."""
    for file in sorted(folder.glob(f"{stem}-{facts['features']['name']}*.json")):
        card = read_json(file, structure.CARD)
        if card is not None and renewed_protocol(card["protocol"]) == json.loads(json.dumps(facts)):
            yield file, card


class Point(NamedTuple):
    """One point of a curve."""

    at: Any  # images seen in training, or the value of a sampling option; None: without that option
    values: Mapping[str, float]
    spread: Mapping[str, Mapping[str, float]]  # over repeated seeds; may be empty


def write_curve(
    folder: Path, rows: Sequence[Point], facts: dict[str, Any], *, name: str = "curve", over: str = "images"
) -> Path:
    """Write the values of a run's checkpoints, one row each, and return the file; there is one per protocol.

    Args:
        folder: of the file.
        rows: in the order of the rows.
        facts: the protocol of the last of them.
        name: beginning of the file's name.
        over: what ``Point.at`` is: the images seen, or an option of sampling, of which the values tell files apart.
    """
    varied = {"checkpoint_sha256"} if over == "images" else {"sampling", "batch_norm"}
    shared = {key: value for key, value in facts.items() if key not in varied}
    shared |= {} if over == "images" else {over: [each.at for each in rows]}
    direction = f"-{facts['direction']}" if "direction" in facts else ""
    file = inside(folder, f"{name}-{facts['split']}-{facts['features']['name']}{direction}-{digest(shared)[:8]}.csv")
    with replacing(file) as temporary, temporary.open("w", encoding="utf-8", newline="") as text:
        writer = csv.writer(text, lineterminator="\n")
        keys = list(dict.fromkeys(key for each in rows for key in each.values))
        writer.writerow([over, *keys])
        at = ["" if each.at is None else each.at for each in rows]
        writer.writerows([x, *(each.values.get(key, "") for key in keys)] for x, each in zip(at, rows))
    return file


def _protocol_of(file: Path) -> Any:
    try:
        return renewed_protocol(json.loads(file.read_text(encoding="utf-8"))["protocol"])
    except (ValueError, KeyError, TypeError, AttributeError):  # not our file, so it is kept
        return None


def show(result: Mapping[str, Any], facts: Mapping[str, Any], file: Path) -> None:
    """Print the values next to those of real images, and what they were measured against."""
    floor, spread = result["floor"]["values"] if result["floor"] else {}, result["spread"]
    table = Table("score", "value", *(["real against real"] if floor else []))
    for key, value in result["values"].items():
        if is_spread(key):
            continue
        own = result["values"].get(f"{key}_std", result["values"].get(f"{key}_se"))
        std = spread.get(key, {}).get("std", own)
        text = f"{value:.4f}" + ("" if std is None else f" +- {std:.4f}")
        table.add_row(named(key), text, *([f"{floor[key]:.4f}" if key in floor else "-"] if floor else []))
    Console().print(table)
    real = f"{facts['images_reference']:,}" if facts["images_reference"] else "the images"
    of = f"{real} of {facts['dataset']} {facts['split']}"
    if facts["images_generated"]:
        kind = f" ({facts['pixels']} of the pixels)" if "pixels" in facts else ""
        images = f"{facts['images_generated']:,} images{kind} against {of}"
        print(f"{images}, features {facts['features']['name']}{drawn(facts)}")
    asked = [each.asks for name in facts["metrics"] if name in METRICS for each in METRICS[name].needs.get(MODEL, ())]
    if {"nats", "elbo", "iwae"} & {*asked}:
        kind = f" ({facts['likelihood']['kind']}: {facts['likelihood']['how']})" if "likelihood" in facts else ""
        print(f"nats per image over all {of}, {facts['levels']}{kind}")
    if floor:
        half = result["floor"]["images"]
        few = "" if half >= facts["images_generated"] else f"; use n={half} for comparable FIDs"
        print(f"real against real: two disjoint halves of {half:,} images{few}")
    log.info("-> %s", file)


def drawn(facts: Mapping[str, Any]) -> str:
    """Return the options of sampling in a protocol, ``, truncation 0.5``; empty if there are none."""
    return "".join(f", {key} {value}" for key, value in facts.get("sampling", {}).items())


def named(key: str) -> str:
    """Return the display name of a value: FID, IS, precision."""
    return key.upper() if key in METRICS and len(key) < 4 else key
