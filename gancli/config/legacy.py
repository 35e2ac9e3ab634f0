"""Converting the configs and protocols of earlier releases to the current targets and keys."""

from typing import Any

from gancli.config.views import first_views

MOVED = {  # the beginnings of targets
    "gancli.schedules.": "gancli.training.schedules.",
    "gancli.losses.penalties.Orthogonal": "gancli.losses.orthogonal.Orthogonal",
}
INTERNAL = ("lab", "levels", "recipe", "scores")  # groups that lie in internal/ now


def renewed(config: dict[str, Any]) -> dict[str, Any]:
    """Return a saved config (plain dicts and lists) with the current targets and keys."""
    found = _targets(config)
    samples = found.get("samples")
    if isinstance(samples, dict) and "views" not in samples:
        found["samples"] = _views(samples, found)
    return found


def _targets(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _target(value) if key == "_target_" else _targets(value) for key, value in node.items()}
    return [_targets(each) for each in node] if isinstance(node, list) else node


def _target(name: Any) -> Any:
    for old, new in MOVED.items():
        if isinstance(name, str) and name.startswith(old):
            return new + name.removeprefix(old)
    return name


def _views(samples: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Replace ``samples.completion``: a run that turned completions off continues without them."""
    completed = samples.get("completion")
    kept = {key: value for key, value in samples.items() if key != "completion"}
    off = not completed and "completion" in (first_views(config))
    return kept | {"views": ["grid"] if off else None}


def renewed_protocol(protocol: dict[str, Any]) -> dict[str, Any]:
    """Return the protocol of a score card with the current keys."""
    return {"direction" if key == "way" else key: value for key, value in protocol.items()}


def renewed_choices(choices: dict[str, str]) -> dict[str, str]:
    """Return the choices of a status.json, group by group, with the names that groups have today."""
    return {f"internal/{group}" if group.partition("@")[0] in INTERNAL else group: v for group, v in choices.items()}
