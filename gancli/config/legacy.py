"""Configs of earlier releases, as their checkpoints and run folders hold them, in the words of today."""

from typing import Any

MOVED = {"gancli.schedules.": "gancli.training.schedules."}  # modules of targets


def renewed(node: Any) -> Any:
    """Return a saved config, plain dicts and lists, with every target by the name that it has today."""
    if isinstance(node, dict):
        return {key: _target(value) if key == "_target_" else renewed(value) for key, value in node.items()}
    return [renewed(each) for each in node] if isinstance(node, list) else node


def _target(name: Any) -> Any:
    for old, new in MOVED.items():
        if isinstance(name, str) and name.startswith(old):
            return new + name.removeprefix(old)
    return name


def renewed_protocol(protocol: dict[str, Any]) -> dict[str, Any]:
    """Return the protocol of a score card with the keys that it has today."""
    return {"direction" if key == "way" else key: value for key, value in protocol.items()}
