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
    """Replace ``samples.completion``, the missing part or null: the run goes on with the same one, or without."""
    completed, usual = samples.get("completion"), "bottom"
    kept = {key: value for key, value in samples.items() if key != "completion"}
    own = first_views(config)
    if "completion" not in own or completed == usual:
        return kept | {"views": None}
    if not completed:
        return kept | {"views": ["grid"]}
    return kept | {"views": [{name: {"mask": completed}} if name == "completion" else name for name in own]}


def renewed_protocol(protocol: dict[str, Any]) -> dict[str, Any]:
    """Return the protocol of a score card with the current keys; a likelihood alone had a batch size."""
    found = {"direction" if key == "way" else key: value for key, value in protocol.items()}
    metrics, likelihood = found.get("metrics"), found.get("likelihood")
    alone = isinstance(metrics, list) and "nll" in metrics and found.get("images_generated") is None
    if alone and "batch_size" in found and not (isinstance(likelihood, dict) and likelihood.get("kind") == "bound"):
        found["batch_size"] = None
    return found


def renewed_choices(choices: dict[str, str]) -> dict[str, str]:
    """Return the choices of a status.json, group by group, with the names that groups have today."""
    return {f"internal/{group}" if group.partition("@")[0] in INTERNAL else group: v for group, v in choices.items()}
