"""The scores of a subject and its card: one path for ``gancli eval``, training, models and image files."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gancli.metrics import scorecard
from gancli.metrics.scoring.base import Scoring, Subject
from gancli.models.base import Model
from gancli.models.held_out import HeldOut


class Origin(NamedTuple):
    """Where the scored images come from, and where the card goes.

    Args:
        model: the scored model; None: images from files.
        facts: facts on weights and seeds for the protocol.
        noted: notes for the reader, outside the protocol.
        folder: folder of the card.
        stem: stem of the card's name.
        images: number of images seen in training.
        run: the run folder whose TensorBoard log gets the values; None: none.
    """

    model: Model | None
    facts: Mapping[str, Any]
    noted: Mapping[str, Any]
    folder: Path
    stem: str
    images: int = 0
    run: Path | None = None


class Result(NamedTuple):
    """The scores of a subject.

    Args:
        values: means over the seeds.
        spread: spread of the values over the seeds or random halves; may be empty.
        floor: values of real images against other real ones, and how many; may be empty.
        protocol: all that the values depend on.
        file: the card.
    """

    values: dict[str, float]
    spread: dict[str, dict[str, float]]
    floor: dict[str, Any]
    protocol: dict[str, Any]
    file: Path


def weights(*, seed: int, repeats: int, ema: bool, checkpoint_sha256: str | None) -> dict[str, Any]:
    """Return the protocol's facts on weights and seeds; a model that still trains has no checkpoint."""
    return {"ema": ema, "seed": seed, "repeats": repeats, "checkpoint_sha256": checkpoint_sha256}


def evaluate(
    scoring: Scoring, subject: Subject, origin: Origin, *, seed: int = 0, repeats: int = 1, halves: int = 0
) -> Result:
    """Score a subject and write its card, ``<stem>[-<subject>]-<features>.json``.

    Args:
        scoring: the scoring of the subject.
        subject: what is scored.
        origin: where it comes from, and where the card goes.
        seed: the first seed.
        repeats: number of seeds, from ``seed`` on.
        halves: number of random halves of the images that estimate the spread, in place of more seeds; 0: none.
    """
    began = time.monotonic()
    held_out = _held_out(subject, origin)
    scores = [
        subject.score(origin.model, seed=seed + i, held_out=held_out, halves=halves if subject.scorer.n >= 4 else 0)
        for i in range(repeats)
    ]
    values, spread = scorecard.folded([each.values for each in scores])
    if scores[0].deviations:
        spread = scorecard.intervals(values, scores[0].deviations)
    images, floor = subject.scorer.floor()
    facts = protocol(subject, origin, held_out)
    card = {
        "values": values, "spread": spread, "floor": {"images": images, "values": floor} if floor else {},
        "details": scores[0].details, **origin.noted, "better": better(scoring, subject, values),
    }  # fmt: skip
    file = scorecard.write(origin.folder, _stem(subject, origin), facts, card, seconds=time.monotonic() - began)
    return Result(values, spread, card["floor"], facts, file)


def assist(subject: Subject, origin: Origin, *, seed: int = 0, repeats: int = 1) -> None:
    """Do the part of a process that is not the first of evaluate(), which is told the same."""
    held_out = _held_out(subject, origin)
    for i in range(repeats):
        subject.score(origin.model, seed=seed + i, held_out=held_out)


def known(subject: Subject, origin: Origin) -> Result | None:
    """Return what an earlier evaluation of the same protocol found, from its card; None if there is none.

    A card without the values of real images is not enough where they are asked for.
    """
    facts = protocol(subject, origin, _held_out(subject, origin))
    for file, card in scorecard.find(origin.folder, _stem(subject, origin), facts):
        if card.get("floor") or not subject.scorer.has_floor:
            return Result(card["values"], card.get("spread", {}), card.get("floor", {}), facts, file)
    return None


def protocol(subject: Subject, origin: Origin, held_out: HeldOut | None) -> dict[str, Any]:
    """Return all that the values of a subject depend on, see scorecard.protocol()."""
    settings, scorer = subject.settings, subject.scorer
    facts = {**origin.facts, **subject.about(origin.model), **likelihood(held_out)}
    # A likelihood alone is a sum over images, whatever the batches: the card of training is that of gancli eval.
    summed = held_out is not None and held_out.kind != "bound" and not scorer.draws  # a bound may be drawn
    return scorecard.protocol(
        scorer, scorer.reference, facts, batch_size=None if summed else settings.batch_size, device=settings.device,
        precision=settings.precision,
    )  # fmt: skip


def _held_out(subject: Subject, origin: Origin) -> HeldOut | None:
    return origin.model.held_out() if origin.model is not None and subject.scorer.asks else None


def _stem(subject: Subject, origin: Origin) -> str:
    return f"{origin.stem}-{subject.name}" if subject.name else origin.stem


def likelihood(held_out: HeldOut | None) -> dict[str, Any]:
    """Return the protocol's facts on a likelihood that is not the exact probability of the pixels' levels."""
    if held_out is None or held_out.kind in ("exact", "none"):
        return {}
    return {"likelihood": {"kind": held_out.kind, "how": held_out.how}}


def better(scoring: Scoring, subject: Subject, values: Mapping[str, float]) -> dict[str, bool]:
    """Return whether higher is better, for each value on a card for which either is."""
    known = {key: higher for metric in subject.scorer.metrics for key, higher in metric.values.items()}
    known |= scoring.better
    return {key: bool(known[key]) for key in values if known.get(key) is not None}
