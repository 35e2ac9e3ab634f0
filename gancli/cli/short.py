"""Short keys: label=3 for view.label=3 and temperature=0.9 for sampling.temperature=0.9."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from gancli import config
from gancli.cli.arguments import value_of
from gancli.config import targets
from gancli.config.sampling import offering, others
from gancli.config.views import first_views
from gancli.errors import UsageError, did_you_mean
from gancli.verbs.base import Verb

NODES = ("view", "sampling")  # root keys whose own keys may be written without this prefix
GROUPS = ("hydra", "local")  # root keys that every verb accepts besides its own
REPLACED = {"kind": "view"}  # keys that were renamed since earlier releases


def takes(verb: Verb) -> bool:
    """Tell whether a verb accepts short keys."""
    return any(node in _own(verb) for node in NODES)


def expanded(verb: Verb, settings: Sequence[str], saved: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Return the settings with short keys written out, and the values that the checkpoint provides.

    Args:
        verb: a verb with a ``view`` or ``sampling``.
        settings: the settings on the command line.
        saved: config of the checkpoint.

    Raises:
        UsageError: a key that belongs to none of the verb, the view and the sampling.
    """
    options = config.options("view") if "view" in _own(verb) else {}
    typed = value_of(list(settings), "view")
    chosen = typed or next(iter(first_views(saved)), None)
    view = options.get(chosen or "")
    known = {"sampling": _keys(targets.method(str(saved["model"]["_target_"]), "set_sampling"))}
    if view is not None:
        known = {"view": _keys(targets.signature(str(view["_target_"])))} | known
    words = [_word(word, verb, known, open_=typed is not None and view is None) for word in settings]
    return words, {} if typed or view is None else {"view": view}


def check_typed(verb: Verb, settings: Sequence[str]) -> None:
    """Refuse short keys if there is no checkpoint to look them up in; Hydra refuses other words. Raises UsageError."""
    views = [str(node["_target_"]) for node in config.options("view").values()] if "view" in _own(verb) else []
    shown = {key for view in views if targets.is_trusted(view, ()) for key in _keys(targets.signature(view))}
    for word in settings:
        key, equals, _ = word.lstrip("+").partition("=")
        if not equals or not re.fullmatch(r"\w+", key) or key in (*_own(verb), *GROUPS):
            continue
        if key in shown or offering(key):
            raise UsageError(f"{verb.checkpoint} is missing; add {verb.checkpoint}=..., which {key}= depends on")


def _own(verb: Verb) -> tuple[str, ...]:
    return tuple(each.name for each in fields(verb.keys))


def _keys(signature: targets.Signature) -> tuple[str, ...]:
    return tuple(signature.parameters)


def _word(word: str, verb: Verb, known: Mapping[str, Sequence[str]], *, open_: bool) -> str:
    """Return one setting in full; with ``open_`` the view is unknown here, only to Hydra, and no key is refused."""
    own = _own(verb)
    key, equals, value = word.lstrip("+").partition("=")
    if not equals or not re.fullmatch(r"\w+", key) or key in (*own, *GROUPS):
        return word
    for node, keys in known.items():
        if key in keys:
            return f"{node}.{word.lstrip('+')}"
    if key in REPLACED:
        raise UsageError(f"{key}={value} has been renamed; write {REPLACED[key]}={value}")
    if open_:
        return word
    allowed = [*own, *(each for keys in known.values() for each in keys)]
    there = ", ".join(sorted(set(allowed)))
    raise UsageError(f"{key}: no such key{did_you_mean(key, allowed)} (allowed: {there}){others(key)}")
