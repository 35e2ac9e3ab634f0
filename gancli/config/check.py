"""Checking a composed config before anything is imported or allocated."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, is_dataclass
from importlib.util import find_spec
from typing import Any

from gancli.config import kinds, schema, targets
from gancli.config.annotations import anneals, beyond, describe, fits, floated, is_annealed, out_of_range, takes_only
from gancli.errors import UsageError, did_you_mean
from gancli.nn.annealed import Annealed

GROUPS = ("data", "features", "model", "loss", "optimizer", "schedule", "lecture", "view")


def check_keys(values: dict[str, Any], root: type[Any], path: str = "") -> None:
    """Check that ``values`` has exactly the keys that a dataclass declares, and that they are within their ranges.

    Keys can be added with ``+`` and removed with ``~``. Counts such as 200k or 2M become numbers in place.

    Args:
        values: the resolved config as plain dicts, lists and scalars.
        root: the dataclass, whose fields may carry the metadata of gancli.verbs.base.key().
        path: the key of ``values`` with a trailing dot; empty at the root.

    Raises:
        UsageError: one line with the key, its value, what is allowed and the closest existing key.
    """
    known = {each.name: each for each in fields(root)}
    for key in known:
        if key not in values:
            raise UsageError(f"{path}{key} is missing; add {path}{key}=...")
    for key, value in values.items():
        if key not in known:
            raise UsageError(_no_key(path + key, key, known))
        kind = known[key].type
        if isinstance(value, dict) and isinstance(kind, type) and is_dataclass(kind):
            check_keys(value, kind, f"{path}{key}.")
        elif value is not None:
            values[key] = _in_range(value, known[key].metadata, path + key)


def _in_range(value: Any, declared: Mapping[str, Any], path: str) -> Any:
    """Check the range of a value and return it; a count becomes a number."""
    if declared.get("anneals") and isinstance(value, dict):
        counts = {k: _count(v, f"{path}.{k}") if k in ("from", "to") else v for k, v in value.items()}
        return _annealed(counts, path)
    number = _count(value, path) if declared.get("count") else value
    allowed = declared.get("range")
    wrong = allowed.text if allowed is not None and not allowed.allows(number) else None
    if isinstance(number, (int, float)):
        wrong = wrong or beyond(number, [">= 0"])
    if wrong:
        raise UsageError(f"{path}={number}: {wrong}")
    return number


def check_used(settings: Sequence[str], unused: Mapping[str, str]) -> None:
    """Refuse a setting that would have no effect.

    Args:
        settings: what was typed.
        unused: keys that the command does not use, each for itself and those below it, with the reasons.

    Raises:
        UsageError: one of them was typed.
    """
    for word in settings:
        key, _, value = word.lstrip("+").partition("=")
        for each, reason in unused.items():
            if value != "null" and (key == each or key.startswith(f"{each}.")):
                raise UsageError(f"{word}: {reason}")


def check_nodes(values: Mapping[str, Any]) -> None:
    """Check every node with a ``_target_``; where an int is expected, a count such as 200k becomes a number in place.

    Args:
        values: the resolved config of a verb as plain dicts, lists and scalars.

    Raises:
        UsageError: one line with the key, its value, what is allowed and the closest existing key.
    """
    _check_packages(values.get("trust") or ())
    for group in GROUPS:
        node = values.get(group)
        if node is None:
            continue
        if not isinstance(node, dict) or "_target_" not in node:
            name = node if isinstance(node, str) else "..."
            where = f"write experiment=lecture/{name}" if group == "lecture" else f"see gancli help {group}"
            raise UsageError(f"{group} has no _target_; choose one of its options: {where}")
        _check_node(node, group, group, values.get("trust") or ())


def _check_packages(trust: Sequence[str]) -> None:
    """Refuse a name of which there is no module, such as that of a distribution; nothing is imported."""
    for name in trust:
        first = name.partition(".")[0]  # to look for what is in it would import it
        if not _is_there(first):
            other = first.replace("-", "_")
            tip = f"did you mean {other!r}?" if _is_there(other) else "install it, or put its folder on PYTHONPATH"
            raise UsageError(f"trust: no module {first!r}; {tip}")


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ValueError, ImportError):  # no name of a module, or one without a file, such as __main__
        return False


def _count(value: Any, path: str) -> int:
    try:
        return schema.parse_count(value)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def _no_key(path: str, key: str, allowed: Collection[str]) -> str:
    known = f"allowed: {', '.join(sorted(allowed))}" if allowed else "none are allowed"
    return f"{path}: no such key{did_you_mean(key, allowed)} ({known})"


def check_target(node: dict[str, Any], supplied: Collection[str], trust: Sequence[str]) -> None:
    """Check a mapping with a ``_target_``, wherever it came from, against the signature of the target.

    Args:
        node: plain dicts, lists and scalars; where a whole number is expected, 200k becomes one in place.
        supplied: arguments that the program gives.
        trust: packages outside gancli whose classes may be built.

    Raises:
        UsageError: one line with the class and the key, what it is, and what is allowed.
    """
    _check_node(node, str(node["_target_"]).rpartition(".")[2], None, trust, supplied)


def _check_node(
    node: dict[str, Any], path: str, group: str | None, trust: Sequence[str], supplied: Collection[str] = ()
) -> None:
    """Check a mapping with a ``_target_``, and those nested in it, against the signatures of their targets."""
    try:
        targets.check_trusted(str(node["_target_"]), trust)
        signature = targets.signature(str(node["_target_"]))
    except UsageError as error:
        raise UsageError(f"{path}.{error}") from error
    supplied = (*supplied, *schema.SUPPLIED.get(group or "", ()))
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
            _check_value(node, key, parameter, path, trust, rates=group == "optimizer")
        elif parameter and parameter.required and (group or not node.get("_partial_")):
            raise UsageError(f"{path}.{key} is missing: {node['_target_']} needs it; add +{path}.{key}=...")
    if group == "optimizer":
        _check_overrides(node.get("overrides") or {}, taken, f"{path}.overrides", trust)


def check_arguments(values: dict[str, Any], target: str, method: str, path: str) -> None:
    """Check the arguments for a method of a target; a count such as 20k becomes a number.

    Raises:
        UsageError: one line with the key and the closest existing key.
    """
    taken = targets.method(target, method)
    for key in values:
        if key in taken.parameters:
            _check_value(values, key, taken.parameters[key], path, ())
        elif not taken.open:
            raise UsageError(_no_key(f"{path}.{key}", key, taken.parameters))


def _check_overrides(
    networks: dict[str, Any], taken: dict[str, targets.Parameter], path: str, trust: Sequence[str]
) -> None:
    """Check the per-network overrides of an optimizer against the optimizer's arguments."""
    if not isinstance(networks, dict):
        raise UsageError(
            f"{path}={networks}: expected networks and their arguments, such as {path}.discriminator.lr=4e-4"
        )
    for network, values in networks.items():
        if not isinstance(values, dict):
            raise UsageError(f"{path}.{network}={values}: name the argument, such as {path}.discriminator.lr=4e-4")
        for key in values:
            if key not in taken:
                raise UsageError(_no_key(f"{path}.{network}.{key}", key, taken))
            _check_value(values, key, taken[key], f"{path}.{network}", trust, rates=True)


def _check_value(
    node: dict[str, Any],
    key: str,
    parameter: targets.Parameter,
    parent: str,
    trust: Sequence[str],
    *,
    rates: bool = False,
) -> None:
    """Check one argument; in place, a whole number written 20k becomes one, and an int where a float is meant a float.

    With ``rates``, an optimizer's numbers that change over the run are judged by their final value.
    """
    value, path = node[key], f"{parent}.{key}"
    if isinstance(value, dict) and "_target_" in value:
        return _check_part(value, path, parameter, trust)
    if isinstance(value, dict) and anneals(parameter.annotation):
        node[key] = _floated(_annealed(value, path), parameter, path)
    _check_inside(value, path, parameter, node.get("_recursive_") is False, trust)
    if isinstance(value, str) and value[:1].isdigit() and takes_only(parameter.annotation, "int"):
        node[key] = value = _count(value, path)
    _check_objects(value, path, parameter)
    if not isinstance(value, (list, dict)) and not fits(value, parameter.annotation):
        if value is not None and fits([value], parameter.annotation):  # a list of one
            node[key] = value = [value]
    last = _last(value, path) if rates and key in schema.ANNEALED_RATES else value
    if not fits(last, parameter.annotation):
        raise UsageError(f"{path}: expected {describe(parameter.annotation)}, got {last!r}")
    own = parameter.module.name.partition(".")[0] == "gancli"
    if wrong := out_of_range(value, parameter.annotation, (">= 0",) if own else ()):
        raise UsageError(f"{path}={str(value)[:40]}: {wrong}")
    node[key] = _floated(value, parameter, path)


def _check_objects(value: Any, path: str, parameter: targets.Parameter) -> None:
    """Refuse a plain value where only an object will do, which the constructor would try to use."""
    if not (wanted := kinds.named(parameter)) or anneals(parameter.annotation):
        return
    inner = value.items() if isinstance(value, dict) else ()
    plain = {path: value} if not isinstance(value, dict) and describe(parameter.annotation) in ("", "None") else {}
    plain |= {f"{path}.{name}": each for name, each in inner if not isinstance(each, dict)}
    for place, each in plain.items():
        if each is not None:
            names = " or ".join(name.rpartition(".")[2] for name in wanted)
            raise UsageError(f"{place}: expected a node with the _target_ of a {names}, got {each!r}")


def _floated(value: Any, parameter: targets.Parameter, path: str) -> Any:
    try:
        return floated(value, parameter.annotation)
    except OverflowError as error:
        raise UsageError(f"{path}: {str(value)[:20]}... is beyond the range of floats; type a smaller one") from error


def _annealed(value: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the value if it describes a number that changes over the run."""
    if not is_annealed(value):
        raise UsageError(
            f"{path}: expected a number, or {{from: 1, to: 0.1}} with optional shape, start and until, got {value!r}"
        )
    try:
        Annealed.from_config(value)
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error
    for end in ("from", "to"):
        if wrong := beyond(value[end], ()):
            raise UsageError(f"{path}.{end}={value[end]}: {wrong}")
    return value


def _last(value: Any, path: str) -> Any:
    """Return a number, or a list of them, with the final value of each that changes."""
    if isinstance(value, list):
        return [_last(each, path) for each in value]
    return _annealed(value, path)["to"] if isinstance(value, dict) else value


def _check_inside(value: Any, path: str, parameter: targets.Parameter, kept: bool, trust: Sequence[str]) -> None:
    """Check the targets in a mapping, such as loss.penalties; if ``kept``, names of groups mark nodes of that group."""
    named = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in named:
        if not isinstance(inner, dict) or "_target_" not in inner:
            _check_inside(inner, f"{path}.{name}", parameter, kept, trust)
        elif kept:
            _check_node(inner, f"{path}.{name}", name if name in GROUPS else None, trust)
        else:
            _check_part(inner, f"{path}.{name}", parameter, trust)


def _check_part(node: dict[str, Any], path: str, parameter: targets.Parameter, trust: Sequence[str]) -> None:
    """Check a target inside an argument: it has to be of the kind that the argument's annotation names."""
    try:
        targets.check_trusted(str(node["_target_"]), trust)
        kinds.check(str(node["_target_"]), kinds.named(parameter, trust))
    except UsageError as error:
        raise UsageError(f"{path}.{error}") from error
    _check_node(node, path, "data" if takes_only(parameter.annotation, "Source") else None, trust)
