"""YAML as gancli writes it, and no other: a saved config may come from a stranger."""

from collections.abc import Iterator
from typing import Any

import yaml
from omegaconf import OmegaConf

from gancli.errors import UsageError

LARGEST = 2**20  # characters; a config has a few thousand
DEEPEST = 30  # mappings and lists inside each other
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_texts_written: dict[str, str] = {}


def written(values: dict[str, Any]) -> str:
    """Return plain values as text; that of the last ones is kept, as a run asks for its own again and again."""
    key = repr(values)  # which, unlike ==, tells 1 from 1.0 and from true, and one order of keys from another
    if key not in _texts_written:
        _texts_written.clear()
        _texts_written[key] = OmegaConf.to_yaml(OmegaConf.create(values))
    return _texts_written[key]


def check_text(text: str) -> None:
    """Refuse a text that is too large or deep, or has anchors or tags: gancli writes none.

    A few anchors inside each other make a small text a huge config.

    Raises:
        UsageError: saying which.
        yaml.YAMLError: it is no YAML.
    """
    if len(text) > LARGEST:
        raise UsageError(f"a saved config cannot be read: it has {len(text):,} characters, above {LARGEST:,}")
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if getattr(event, "anchor", None):
            raise UsageError("a saved config cannot be read: it has anchors, which gancli does not write")
        tag = str(getattr(event, "tag", None) or "")
        if tag.strip("!"):
            raise UsageError(f"a saved config cannot be read: it has the tag {tag}, which gancli does not write")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise UsageError(f"a saved config cannot be read: it is more than {DEEPEST} levels deep")


def check_values(values: Any) -> None:
    """Refuse interpolations, missing values and targets that are no text: gancli writes resolved values.

    ``${oc.env:...}`` would read this user's environment into the config, its copies and logs.

    Raises:
        UsageError: with the value.
    """
    for text in _texts(values):
        if "${" in text or text == "???":
            raise UsageError(f"a saved config cannot be read: {text[:40]!r} is not a value that gancli writes")


def _texts(values: Any) -> Iterator[str]:
    """Yield all strings, keys too. Raises UsageError for a target that is none."""
    if isinstance(values, dict):
        for key, value in values.items():
            if key == "_target_" and not isinstance(value, str):
                raise UsageError(f"a saved config cannot be read: _target_={value} is not the name of a class")
            yield from _texts(key)
            yield from _texts(value)
    elif isinstance(values, list):
        for value in values:
            yield from _texts(value)
    elif isinstance(values, str):
        yield values
