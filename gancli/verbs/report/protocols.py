"""Comparison of evaluation protocols: scores may be compared only if they were measured in the same way."""

import json
from collections.abc import Iterable, Mapping, Sequence
from shlex import quote
from typing import Any

from gancli import config
from gancli.errors import UsageError
from gancli.verbs.report.runs import Card, Run

SUBJECT = (
    "checkpoint_sha256",
    "images",
    "metrics",
    "labels",  # sets of images are compared, whatever was asked of a model; said below the table
    "pixels",  # and whether they are means; said there, too
)  # what is scored: expected to differ
# These affect only digits that are not printed, and are mentioned in a note. Each model draws in the precision that it
# was trained in, which runtime.precision=auto chooses by the model.
NOTED = ("device", "precision", "versions")
DIRECTION = "direction"  # of a translation, from which pictures and features follow
SHOWN = 4  # keys listed in a message, and values of each


def comparable(card: Card) -> dict[str, str]:
    """Return the facts of the protocol that must be equal for scores to be comparable, as JSON text."""
    return {k: json.dumps(v) for k, v in card.protocol.items() if k not in SUBJECT and k.partition(".")[0] not in NOTED}


def differing(cards: Sequence[Card]) -> dict[str, list[Any]]:
    """Return the protocol keys in which evaluations differ, each with its values.

    Settings of a metric (``kid_subsets``) are compared only between evaluations that computed this metric.
    Nor is the kind of a likelihood compared where it is missing: gancli 0.1 did not note it, and kinds have values of
    different names.
    """
    facts = [comparable(card) for card in cards]
    found = {}
    for key in dict.fromkeys(key for each in facts for key in each):
        values = dict.fromkeys(
            each.get(key, "null") for card, each in zip(cards, facts) if key in each or not _unasked(key, card, cards)
        )
        if len(values) > 1:
            found[key] = [json.loads(value) for value in values]
    return found


def apart(cards: Sequence[Card]) -> dict[str, list[Any]]:
    """Return what tells rows apart, with its values: directions, and in what evaluations of one direction differ."""
    by_direction = _by_direction(cards)
    found: dict[str, list[Any]] = {DIRECTION: list(by_direction)} if len(by_direction) > 1 else {}
    for each in by_direction.values():
        for key, values in differing(each).items():
            found[key] = found.get(key, []) + [value for value in values if value not in found.get(key, [])]
    return found


def _by_direction(cards: Sequence[Card]) -> dict[str | None, list[Card]]:
    found: dict[str | None, list[Card]] = {}
    for card in cards:
        found.setdefault(card.protocol.get(DIRECTION), []).append(card)
    return found


def _unasked(key: str, card: Card, cards: Iterable[Card]) -> bool:
    own = card.protocol.get("metrics", ())
    others = {name for other in cards for name in other.protocol.get("metrics", ())} - set(own)
    return key.startswith(("likelihood.", *(f"{name}_" for name in others)))


def noted(cards: Sequence[Card]) -> dict[str, list[Any]]:
    """Return the keys that differ but do not make evaluations incomparable, each with its values."""
    found: dict[str, dict[str, None]] = {}
    for card in cards:
        for key, value in card.protocol.items():
            if key.partition(".")[0] in NOTED:
                found.setdefault(key, {})[json.dumps(value)] = None
    return {key: [json.loads(v) for v in values] for key, values in found.items() if len(values) > 1}


def with_labels(cards: Iterable[Card]) -> set[bool]:
    """Return whether the images were drawn with labels: both, if conditional and other models are compared."""
    return {card.protocol.get("labels") is not None for card in cards}


def with_means(cards: Iterable[Card]) -> set[bool]:
    """Return whether the images were means of their pixels: both, if latent-variable and other models are compared."""
    return {card.protocol.get("pixels") == "means" for card in cards}


def selected(cards: Iterable[Card], only: Mapping[str, Any]) -> list[Card]:
    """Return the evaluations whose protocol has the values of ``only``, a mapping of dotted keys; null: none."""
    return [card for card in cards if all(card.protocol.get(key) == value for key, value in only.items())]


def check_keys(cards: Sequence[Card], only: Mapping[str, Any]) -> None:
    """Refuse facts that no protocol has. Raises UsageError."""
    known = sorted({name for card in cards for name in card.protocol})
    for key in only:
        if cards and key not in known:
            raise UsageError(f"only.{key}: no evaluation has this key in its protocol (known keys: {', '.join(known)})")


def require_one(cards: Sequence[Card]) -> None:
    """Refuse to go on with evaluations of several protocols, directions aside. Raises UsageError, naming the keys."""
    found = {key: values for key, values in apart(cards).items() if key != DIRECTION}
    if not found:
        return
    own = [key for key in found if not (key.startswith("features.") and "features.name" in found)]  # others follow
    keys = [*(["features.name"] if "features.name" in found else []), *own][:SHOWN]
    told = "; ".join(f"{key}: {' | '.join(_text(v) for v in found[key][:SHOWN])}" for key in keys)
    told += f"; and {len(found) - len(keys)} more" if len(keys) < len(found) else ""
    key, values = next(iter(found.items()))
    raise UsageError(
        f"the evaluations are of different protocols and cannot be compared ({told}); choose one, such as "
        f"{quote(f'only.{key}={_whole(values[0])}')}, or show them side by side with protocols=mixed"
    )


def settings(facts: Mapping[str, Any], cards: Iterable[Card], runs: Iterable[Run]) -> list[str]:
    """Return the settings of ``gancli eval`` by which further evaluations are of the protocol of those that there are.

    Args:
        facts: what the protocols share, by dotted keys; empty without evaluations.
        cards: the evaluations.
        runs: their runs, whose own metrics and features are those that eval uses without being told.
    """
    usual = {"seed": 0, "repeats": 1, "ema": True, "images_generated": facts.get("images_reference")}
    given = {key: facts[key] for key, value in usual.items() if facts.get(key) not in (None, value)}
    given |= {key: value for key, value in facts.items() if key.startswith("sampling.")}
    said = [f"{'n' if key == 'images_generated' else key}={_whole(value)}" for key, value in given.items()]
    name, runs = facts.get("features.name"), list(runs)
    known = config.options("features").get(name) if name else None
    if known and {run.eval_features for run in runs} != {known["_target_"]}:
        said.append(f"features={name}")
    metrics = dict.fromkeys(metric for card in cards for metric in card.protocol.get("metrics", ()))
    if any({*metrics} != {*run.eval_metrics} for run in runs if metrics):
        said.append(f"metrics=[{','.join(metrics)}]")
    return said


def _whole(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _text(value: Any) -> str:
    text = _whole(value)
    return text if len(text) <= 16 else f"{text[:12]}..."  # hashes
