"""From conf/ and the command line to a checked config, and from a checked config to objects."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from hashlib import sha1
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, cast

import hydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from gancli import structure
from gancli.config import composition, kinds, plain_yaml, reading, schema, targets
from gancli.config.annotations import anneals
from gancli.config.check import check_keys, check_nodes, check_target, check_used
from gancli.config.groups import options
from gancli.config.legacy import renewed
from gancli.config.sampling import check_sampling, offering
from gancli.config.schema import parse_count
from gancli.errors import UsageError
from gancli.folders import conf_dir
from gancli.nn import annealed
from gancli.verbs import VERBS
from gancli.verbs.base import Runtime

# Keys that do not affect the weights.
HOUSEKEEPING = (
    "checkpoint", "samples", "log", "eval", "doctor", "features", "resume", "other_data", "trust",
    *(f"runtime.{each.name}" for each in fields(Runtime) if each.name != "precision"),
)  # fmt: skip

RESTORE = "; restore it, or leave this run out"
T = TypeVar("T")

__all__ = ["check_sampling", "check_used", "conf_dir", "offering", "options", "parse_count"]  # re-exported


def plain(node: Any, *, resolve: bool = True) -> dict[str, Any]:
    """Return a config node, or a mapping of values, as plain dicts, lists and scalars."""
    config = node if OmegaConf.is_config(node) else OmegaConf.create(dict(node))
    return cast("dict[str, Any]", OmegaConf.to_container(config, resolve=resolve, enum_to_str=True))


def compose(verb: str, overrides: Sequence[str] = ()) -> DictConfig:
    """Return the checked config that ``gancli <verb> <overrides>`` would run with, for tests and tools.

    Raises:
        UsageError: see check(). Hydra's own exceptions are passed on.
    """
    composition.setup(verb)
    with hydra.initialize_config_dir(str(conf_dir()), job_name="gancli", **composition.VERSION):
        checked = check(hydra.compose(verb, overrides=composition.with_lists(verb, overrides)))
    check_used(overrides, VERBS[verb].without_effect(checked))
    return checked


def flat(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return what distinguishes runs by dotted keys; a target becomes its class's name, and nulls are left out."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        if f"{prefix}{key}" in HOUSEKEEPING:
            continue
        if hasattr(value, "items"):
            found |= flat(value, f"{prefix}{key}.")
        elif key == "_target_":
            found[prefix.removesuffix(".")] = value.rpartition(".")[2]
        elif value is not None and key != "_partial_":
            found[f"{prefix}{key}"] = value
    return found


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the settings of a resumed run that are not those of its checkpoint: ``optimizer.lr=0.1 (saved: 0.2)``."""
    old, new = (_dotted(plain(node)) for node in (before, now))
    keys = [
        key for key in {**old, **new} if key not in ("resume", "other_data", "trust") and old.get(key) != new.get(key)
    ]
    said = {True: "true", False: "false", None: "null"}
    shown = lambda value: said[value] if value is None or isinstance(value, bool) else value  # noqa: E731
    return [f"{key}={shown(new.get(key))} (saved: {shown(old.get(key))})" for key in keys]


def _dotted(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in node.items():
        inner = isinstance(value, dict) and value
        found |= _dotted(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return found


def digest(cfg: DictConfig) -> str:
    """Return a short hash of the exact values of a config, whether its run is resumed or not."""
    begun = plain(cfg) | ({"resume": None} if "resume" in cfg else {})
    return sha1(plain_yaml.written(begun).encode()).hexdigest()[:16]


def check(cfg: DictConfig) -> DictConfig:
    """Check a composed config and return it resolved, with plain values; no target is imported.

    Raises:
        UsageError: one line with the key, its value, what is allowed and the closest existing key.
    """
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise UsageError(f"{missing[0]} is missing; add {missing[0]}=...")
    values = plain(cfg)
    root = OmegaConf.get_type(cfg)
    for verb in [*VERBS.imported.values()]:  # its own is one of them; the others need not be imported
        if verb.keys is root:
            check_keys(values, root)
            verb.check(values)
    check_nodes(values)
    checked: DictConfig = OmegaConf.create(values)
    OmegaConf.set_struct(checked, True)
    return checked


def to_yaml(cfg: DictConfig) -> str:
    """Return the config as portable YAML text: resolved and with plain types only."""
    return plain_yaml.written(plain(cfg))


def from_yaml(text: str) -> DictConfig:
    """Return the config from the text that to_yaml() wrote.

    Raises:
        UsageError: the text is not a config, or has what to_yaml() never writes.
    """
    try:
        plain_yaml.check_text(text)
        cfg = reading.created(text, lambda: OmegaConf.create(text))
    except (OSError, OmegaConfBaseException, YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UsageError(f"a saved config cannot be read: {reason}") from error
    if not isinstance(cfg, DictConfig):
        raise UsageError("a saved config cannot be read: it has no keys")
    values = plain(cfg, resolve=False)
    plain_yaml.check_values(values)
    try:
        return OmegaConf.create(renewed(values))
    except (AttributeError, KeyError, TypeError, ValueError, OmegaConfBaseException) as error:
        raise UsageError(f"a saved config cannot be read: {str(error).splitlines()[0]}") from error


def from_file(file: Path) -> DictConfig:
    """Return the config of a run's ``config.yaml``. Raises UsageError, naming the file and ending with RESTORE."""
    try:
        found = from_yaml(file.read_text(encoding="utf-8"))
        structure.check(plain(found), structure.CONFIG, "config")
    except (OSError, UsageError, ValueError) as error:  # also no text, or no config of gancli's
        raise UsageError(f"{file}: {getattr(error, 'strerror', error)}{RESTORE}") from error
    return found


def replaced(cfg: Mapping[str, Any], nodes: Mapping[str, Any]) -> DictConfig:
    """Return a checked config with nodes at its root replaced."""
    return OmegaConf.create(plain(cfg) | dict(nodes), flags={"struct": True})


def instantiate(
    node: Mapping[str, Any], kind: type | tuple[type, ...], *, trust: Sequence[str] = (), **kwargs: Any
) -> Any:
    """Build the object that a node with a ``_target_`` describes; only trusted classes are ever called.

    Args:
        node: the target and its arguments. With ``_partial_: true`` a functools.partial is returned; with
            ``_recursive_: false`` targets inside the arguments are not built.
        kind: the class, or one of the classes, that the target must be or inherit from.
        trust: packages besides gancli, torch.optim and torch.nn whose classes may be built.
        kwargs: arguments supplied by the program, which take precedence over the node's.

    Raises:
        UsageError: the target is not trusted, is not a subclass of ``kind``, or raises a ValueError.
    """
    values = plain(node)
    built: Any = target_class(values, kind, trust=trust)
    values = {k: v for k, v in values.items() if k not in kwargs}
    check_target(values, kwargs, trust)
    arguments = {k: v for k, v in values.items() if k not in schema.HYDRA_KEYS}
    if values.get("_recursive_", True):
        taken = targets.signature(values["_target_"]).parameters
        arguments = {k: _build(v, taken.get(k), trust) for k, v in arguments.items()}
    arguments = _numbers(arguments, values["_target_"]) | kwargs
    if values.get("_partial_"):
        return partial(built, **arguments)
    try:
        return built(**arguments)
    except ValueError as error:
        raise UsageError(f"{values['_target_']}: {error}") from error


def build_data(node: Mapping[str, Any], *, trust: Sequence[str] = ()) -> tuple[Any, dict[str, Any]]:
    """Build the Source that ``data`` describes, quantised if requested, and return it with the Loader's arguments.

    Raises:
        UsageError: see instantiate().
    """
    from gancli.data.keys import typed, within
    from gancli.data.levels import Quantised
    from gancli.data.source import Source  # imports torch

    loader = {key: node[key] for key in schema.LOADER_KEYS if key in node}
    levels = {key: node[key] for key in schema.LEVELS_KEYS if key in node}
    nested = {}
    for key, each in node.items():
        if _is_target(each):
            with within(typed(key)):
                nested[key] = _domain(each, trust)
    own = {k: v for k, v in node.items() if k not in loader | levels | nested}
    source = instantiate(own, Source, trust=trust, **nested)
    if loader.get("flip", False) is None:
        loader["flip"] = source.flip
    usual = {"bits": 8, "binarise": None, "dequantise": None}
    return source if all(levels[key] == usual[key] for key in levels) else Quantised(source, **levels), loader


def set_sampling(model: Any, node: Mapping[str, Any], sampling: Mapping[str, Any]) -> None:
    """Set the sampling options of a model that was built from ``node``, after checking them like the node itself.

    Raises:
        UsageError: the model does not accept such a key or value.
    """
    values = plain(sampling)
    check_sampling(values, node)
    model.set_sampling(**values)


def _domain(node: Mapping[str, Any], trust: Sequence[str]) -> Any:
    """Build a data set nested in another one; only the outer one has a loader."""
    from gancli.data.keys import typed

    source, loader = build_data(node, trust=trust)
    usual = {"flip": False, "resident": None, "workers": 2}
    for name, value in loader.items():
        if value != usual[name]:
            raise UsageError(f"{typed(name)}={value} is not allowed; set data.{name}={value} for all of the data")
    return source


def _is_target(value: Any) -> bool:
    return isinstance(value, Mapping) and "_target_" in value


def _build(value: Any, parameter: targets.Parameter | None, trust: Sequence[str]) -> Any:
    """Build the targets inside an argument, which have to be of the kind that its annotation names."""
    if isinstance(value, dict) and "_target_" in value:
        named = [name.rpartition(".") for name in kinds.named(parameter, trust)]
        return instantiate(value, tuple(getattr(import_module(where), name) for where, _, name in named), trust=trust)
    if isinstance(value, dict):
        return {key: _build(inner, parameter, trust) for key, inner in value.items()}
    return [_build(inner, parameter, trust) for inner in value] if isinstance(value, list) else value


def _numbers(arguments: dict[str, Any], target: str) -> dict[str, Any]:
    """Return the arguments with Annealed numbers built where the target's annotations allow them."""
    mappings = [key for key, value in arguments.items() if isinstance(value, dict)]
    taken = targets.signature(target).parameters if mappings else {}
    built = {key: number(arguments[key]) for key in mappings if key in taken and anneals(taken[key].annotation)}
    return arguments | built


def number(node: Any) -> Any:
    """Return a number from a config, as an Annealed if it is a mapping such as ``{from: 1, to: 0.1}``.

    Raises:
        UsageError: the mapping does not describe an Annealed.
    """
    try:
        return annealed.from_config(plain(node) if OmegaConf.is_config(node) else node)
    except ValueError as error:
        raise UsageError(str(error)) from error


def target_class(node: Mapping[str, Any], kind: type[T] | tuple[type, ...], *, trust: Sequence[str] = ()) -> type[T]:
    """Import the class that a node's ``_target_`` names, checking its name before the import and its origin after.

    The name alone is not enough: a trusted module also holds whatever it imports, such as ``gancli.config.Path``.

    Raises:
        UsageError: not in a trusted package, not a class, not a subclass of ``kind``, or unfinished.
    """
    target = str(node.get("_target_", ""))
    targets.check_trusted(target, trust)
    allowed = kind if isinstance(kind, tuple) else (kind,)
    if object not in allowed:
        kinds.check(target, [f"{each.__module__}.{each.__qualname__}" for each in allowed])
    module, _, name = target.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"_target_={target} cannot be imported: {error}") from error
    if not isinstance(found, type) or not targets.is_trusted(found.__module__, trust) or not issubclass(found, kind):
        names = " or ".join(each.__name__ for each in allowed)
        raise UsageError(f"_target_={target} is refused: it is not a {names} class of a trusted package")
    kinds.check_complete(target, found)
    return cast("type[T]", found)
