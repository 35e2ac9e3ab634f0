"""YAML as gancli writes it, and no other: a saved config may come from a stranger."""

from collections.abc import Iterator
from typing import Any

import yaml

from gancli.errors import UsageError

LARGEST = 2**20  # characters; a config has a few thousand
DEEPEST = 30  # mappings and lists inside each other
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SafeDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_BOOLS = {
    each
    for word in ("y", "n", "yes", "no", "on", "off", "true", "false")
    for each in (word, word.title(), word.upper())
}


class _Dumper(_SafeDumper):
    """Quotes the texts that OmegaConf would read as a number or a truth value."""


def _quoted(dumper: Any, text: str) -> yaml.ScalarNode:
    style = "'" if text in _BOOLS or _is_number(text) else None
    return dumper.represent_scalar(yaml.resolver.BaseResolver.DEFAULT_SCALAR_TAG, text, style=style)


_Dumper.add_representer(str, _quoted)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def dump(values: dict[str, Any]) -> str:
    """Return plain dicts, lists and scalars as YAML: as OmegaConf.to_yaml() does, in a tenth of its time.

    Only what lies outside of Unicode's basic plane is escaped, and long texts in double quotes break elsewhere.
    """
    return yaml.dump(values, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False)


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
