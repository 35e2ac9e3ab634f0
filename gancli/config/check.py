"""Whether a composed config can work, found out before anything is imported or allocated."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gancli.config import schema, targets
from gancli.config.annotations import describe, fits, takes_only
from gancli.errors import UsageError, did_you_mean

GROUPS = ("data", "features", "model", "loss", "optimizer", "schedule", "lecture")


def check_keys(values: Mapping[str, Any], root: type, path: str = "") -> None:
    """Refuse keys that came in by ``+``, and miss those taken out by ``~``, where a dataclass says which there are.

    Raises:
        UsageError: naming the key and the closest real one.
    """
    known = root.__dataclass_fields__
    for key in known:
        if key not in values:
            raise UsageError(f"{path}{key} is missing: type {path}{key}=...")
    for key, value in values.items():
        if key not in known:
            raise UsageError(_no_key(path + key, key, known))
        if isinstance(value, dict) and hasattr(known[key].type, "__dataclass_fields__"):
            check_keys(value, known[key].type, f"{path}{key}.")


def check_values(values: dict[str, Any]) -> None:
    """Check counts, ranges and every ``_target_`` node; 200k and 2M become numbers in place.

    Args:
        values: the resolved config of a verb as plain dicts, lists and scalars.

    Raises:
        UsageError: one line with the key, what it is, what is allowed and the closest real key.
    """
    for key in schema.COUNTS:
        holder, leaf = schema.holder_of(values, key)
        if holder.get(leaf) is not None:
            holder[leaf] = _count(holder[leaf], key)
    schema.check_ranges(values)
    for group in GROUPS:
        node = values.get(group)
        if node is None:
            continue
        if not isinstance(node, dict) or "_target_" not in node:
            raise UsageError(f"{group} has no _target_: choose one of the options in gancli train --help")
        _check_node(node, group, group, values.get("trust") or ())


def _count(value: Any, path: str) -> int:
    try:
        return schema.parse_count(value)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def _no_key(path: str, key: str, allowed: Iterable[str]) -> str:
    return f"{path}: no such key{did_you_mean(key, allowed)} (there are: {', '.join(sorted(allowed))})"


def _check_node(node: dict[str, Any], path: str, group: str | None, trust: Sequence[str]) -> None:
    """Check a mapping with a ``_target_`` against that target's signature, and those inside it likewise."""
    try:
        targets.check_trusted(str(node["_target_"]), trust)
        signature = targets.signature(str(node["_target_"]))
    except UsageError as error:
        raise UsageError(f"{path}.{error}") from error
    supplied = schema.SUPPLIED.get(group or "", ())
    taken = {key: p for key, p in signature.parameters.items() if key not in supplied}
    own = dict.fromkeys(schema.OWN_KEYS.get(group or "", ()))
    if group == "data":
        takers = targets.signature(schema.LOADER).parameters | targets.signature(schema.LEVELS).parameters
        own = {key: takers[key] for key in own}
    for key in node.keys() - set(schema.HYDRA_KEYS) - own.keys() - taken.keys():
        if not signature.open:
            raise UsageError(_no_key(f"{path}.{key}", key, taken | own))
    for key, parameter in (taken | own).items():
        if key in node and parameter:
            _check_value(node, key, parameter, path, trust)
        elif parameter and parameter.required and (group or not node.get("_partial_")):
            raise UsageError(f"{path}.{key} is missing: {node['_target_']} needs it; type +{path}.{key}=...")
    if group == "optimizer":
        _check_overrides(node.get("overrides") or {}, taken, f"{path}.overrides", trust)


def _check_overrides(
    networks: dict[str, Any], taken: dict[str, targets.Parameter], path: str, trust: Sequence[str]
) -> None:
    """Check what an optimizer is told per network against the same arguments."""
    for network, values in networks.items():
        if not isinstance(values, dict):
            raise UsageError(f"{path}.{network}={values}: name what changes, such as {path}.discriminator.lr=4e-4")
        for key in values:
            if key not in taken:
                raise UsageError(_no_key(f"{path}.{network}.{key}", key, taken))
            _check_value(values, key, taken[key], f"{path}.{network}", trust)


def _check_value(
    node: dict[str, Any], key: str, parameter: targets.Parameter, parent: str, trust: Sequence[str]
) -> None:
    """Check one argument; a whole number written 20k becomes one."""
    value, path = node[key], f"{parent}.{key}"
    if isinstance(value, dict) and "_target_" in value:
        return _check_node(value, path, "data" if takes_only(parameter.annotation, "Source") else None, trust)
    _check_inside(value, path, node.get("_recursive_") is False, trust)
    if isinstance(value, str) and value[:1].isdigit() and takes_only(parameter.annotation, "int"):
        node[key] = value = _count(value, path)
    if not fits(value, parameter.annotation):
        raise UsageError(f"{path}: expected {describe(parameter.annotation)}, got {value!r}")


def _check_inside(value: Any, path: str, kept: bool, trust: Sequence[str]) -> None:
    """Check the targets in a mapping by name, such as loss.penalties; ``kept`` ones are a group's own, by its name."""
    for name, inner in value.items() if isinstance(value, dict) else ():
        if isinstance(inner, dict) and "_target_" in inner:
            _check_node(inner, f"{path}.{name}", name if kept and name in GROUPS else None, trust)
        else:
            _check_inside(inner, f"{path}.{name}", kept, trust)
