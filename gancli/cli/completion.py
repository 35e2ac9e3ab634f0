"""Shell completion: verbs, groups with their options, runs and other values; the keys below a node are Hydra's part.

Hydra's shell code calls ``gancli -sc query=bash`` with the current line in COMP_LINE and takes what is printed.
"""

import ast
import os
import re
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from enum import EnumType
from pathlib import Path

from gancli.folders import chosen_groups, conf_dir, outputs, typed_groups, user_folders
from gancli.verbs import VERBS
from gancli.verbs.base import Verb, leaves

RUNS = 20  # the newest of them are offered
_METRICS = ("metrics", "eval.metrics")


def shift(argv: list[str], verbs: tuple[str, ...]) -> tuple[str, list[str]] | None:
    """Answer ``gancli -sc ...``, or turn it into a call of a verb's own completion, with the line as Hydra expects it.

    Returns:
        The verb and its arguments, or None if the query has been answered.
    """
    line = os.environ.get("COMP_LINE", "")
    if not any(word.startswith("query=") for word in argv):
        return verbs[0], ["-sc", *argv]  # install= and uninstall= are the same for all verbs
    program, _, rest = line.partition(" ")
    verb, space, settings = rest.lstrip().partition(" ")
    word = settings.split(" ")[-1]
    if not space:
        found: Iterable[str] | None = [name for name in (*verbs, "help") if name.startswith(verb)]
    elif verb == "help":
        found = [name for name in (*verbs, *typed_groups()) if name.startswith(word)]
    else:
        found = offered(VERBS[verb], word) if verb in verbs else []
    if found is not None:
        print(("\n" if "query=fish" in argv else " ").join(found))
        return None
    cut = f"{program} {settings}"
    point = int(os.environ.get("COMP_POINT", len(line)))
    os.environ |= {"COMP_LINE": cut, "COMP_POINT": str(max(0, point - (len(line) - len(cut))))}
    return verb, ["-sc", *argv]


def offered(verb: Verb, word: str) -> list[str] | None:
    """Return what a word may become; None: a key below a node, or a flag, which only Hydra knows."""
    key, equals, value = word.partition("=")
    bare = runs(word) if verb.bare and not equals else []  # paths
    if not equals and re.search(r"^[-+~]|[./@]", word):
        return bare or None
    if equals:
        values = _values(verb, key, value)
        return values if values is None else [f"{key}={each}" for each in values if each.startswith(value)]
    keys = {each.name: each.type for each in fields(verb.keys)}
    groups = chosen_groups(verb.name)
    nodes = [f"{name}." for name, kind in keys.items() if is_dataclass(kind) or name in groups]
    plain = [f"{name}=" for name, kind in keys.items() if not is_dataclass(kind) and name not in groups]
    found = sorted({*plain, *nodes, *(f"{group}=" for group in groups)})
    return [each for each in found if each.startswith(word)] + bare


def _values(verb: Verb, key: str, value: str) -> list[str] | None:
    own = {each.name for each in fields(verb.keys)} - {*chosen_groups(verb.name)}
    if key in typed_groups() and key not in own:
        return options(key)
    if key in (verb.checkpoint, verb.bare):
        return [*(["latest"] if key == verb.checkpoint else []), *runs(value)]
    if key in _METRICS:
        return metrics()
    kind = {name: each.type for name, each in leaves(verb.keys)}.get(key)
    if isinstance(kind, EnumType):
        return list(kind.__members__)
    return ["true", "false"] if kind is bool else None


def options(group: str) -> list[str]:
    """Return the options of a group, with those below it that set the whole config: ``lecture/dirac_gan``."""
    found = set()
    for folder in (conf_dir(), *user_folders()):
        for file in (folder / group).rglob("*.yaml"):
            name = file.relative_to(folder / group).with_suffix("").as_posix()
            if "/" not in name or file.read_text(encoding="utf-8").startswith("# @package _global_"):
                found.add(name)
    return sorted(found)


def runs(start: str) -> list[str]:
    """Return the newest run folders below the outputs, those of sweeps too, whose path begins with ``start``."""
    files = [file for depth in ("*/*", "*/*/*") for file in outputs().glob(f"{depth}/config.yaml")]
    newest = sorted(files, key=lambda file: file.stat().st_mtime, reverse=True)
    named = (str(file.parent) for file in newest)
    return [name for name in named if name.startswith(start) and " " not in name][:RUNS]


def metrics() -> list[str]:
    """Return the names of the shipped metrics, read from their sources, since importing them takes seconds."""
    from gancli.config import targets  # imports Hydra

    file = Path(__file__).resolve().parent.parent / "metrics" / "registry.py"
    body = ast.parse(file.read_text(encoding="utf-8")).body
    shipped = next(node for node in body if ast.unparse(node).startswith("_ALL = "))
    classes = [ast.unparse(each.func) for each in ast.walk(shipped) if isinstance(each, ast.Call)]
    return [str(targets.constant(f"gancli.metrics.registry.{each}", "name")) for each in classes]
