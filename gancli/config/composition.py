"""How Hydra is set up for gancli: its search path, schemas, resolvers, and what a saved config adds."""

import re
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache
from hashlib import sha1
from itertools import product
from pathlib import Path
from typing import Any, cast

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.experimental.callback import Callback
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf

from gancli.folders import INTERNAL, conf_dir, user_folders
from gancli.verbs import VERBS

HYDRA_1_3 = hydra.__version__.startswith("1.3.")
VERSION: dict[str, Any] = {"version_base": "1.3"} if HYDRA_1_3 else {}
# What Hydra itself may build is SweepFolder alone.
MAIN: dict[str, Any] = VERSION or {"execution_whitelist": ["gancli.config.composition.*"]}
SCHEMAS = "hydra/gancli_schema"  # Hydra hides groups below hydra/ from --help
BASES = "hydra/gancli_base"  # what a checkpoint's own config adds
LONGEST = 96  # characters of a folder name; file systems end at 255 bytes
FREE = ("runtime", "features", "schedule")  # groups that a resumed run may choose anew
INNER = {"data": ("a", "b", "of"), "loss": ("adversarial",)}  # keys that take an option of the same group: data/a=mnist


class UserConf(SearchPathPlugin):
    """Adds ./conf and the folders of $GANCLI_CONF to where Hydra looks for options."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in user_folders():
            search_path.append("gancli-user", f"file://{folder}")


class SweepFolder(Callback):
    """Remembers where a sweep writes; its jobs may run in other processes, so their results are read from there."""

    folder: Path | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        SweepFolder.folder = Path(config.hydra.sweep.dir).resolve()


@dataclass(frozen=True)
class JobInfo:
    """What Hydra knows of the job that runs."""

    folder: Path
    overrides: list[str]
    choices: dict[str, str]  # of each group
    number: int | None  # in its sweep; None outside of one

    @classmethod
    def current(cls) -> "JobInfo":
        info = HydraConfig.get()
        number = info.job.num if info.mode is RunMode.MULTIRUN else None
        choices = {k: str(v) for k, v in info.runtime.choices.items() if not k.startswith("hydra/") and v}
        return cls(Path(info.runtime.output_dir), _words(info.overrides.task), choices, number)


def _words(overrides: ListConfig | list[str]) -> list[str]:
    """Return what was typed as it was typed, an interpolation too."""
    words = OmegaConf.to_container(overrides, resolve=False) if isinstance(overrides, ListConfig) else overrides
    return [str(word) for word in cast("list[str]", words)]


def slug(value: str | ListConfig) -> str:
    """Return a folder name for a list of overrides (or one word) that is safe, readable and not too long."""
    text = value if isinstance(value, str) else ",".join(sorted(_words(value)))
    safe = re.sub(r"[^\w.,=+-]+", "_", text).strip("_")
    if safe in ("", ".", ".."):
        safe = "default"
    if safe == text and len(safe) <= LONGEST:
        return safe
    return f"{safe[:LONGEST]}-{sha1(text.encode()).hexdigest()[:8]}"  # two lists must not share a folder


def _stamp() -> str:
    return datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")


def _keys(verb: str) -> str:
    """Return the root keys of a verb as its yaml explains them, for ``gancli <verb> --help``."""
    text = (conf_dir() / f"{verb}.yaml").read_text(encoding="utf-8")
    return text.partition("\n# The keys:\n")[2].partition("\nhydra:")[0].rstrip()


def _examples(verb: str) -> str:
    """Return the commands in the first lines of a verb's yaml."""
    lines = (conf_dir() / f"{verb}.yaml").read_text(encoding="utf-8").splitlines()
    return "\n".join(line.removeprefix("#") for line in lines[: lines.index("defaults:")])


def _groups(verb: str) -> str:
    """Return the groups that a verb takes and their options, under a title, for ``gancli <verb> --help``."""
    loader, keys = GlobalHydra.instance().config_loader(), {each.name for each in fields(VERBS[verb].keys)}

    def walk(parent: str) -> Iterator[str]:
        for name in sorted(loader.list_groups(parent)):
            if not parent and not VERBS[verb].makes_runs and name not in keys:
                continue
            group = f"{parent}/{name}".lstrip("/")
            if options := sorted(loader.get_group_options(group)):
                yield f"{group}: " + (f"as {parent}" if name in INNER.get(parent, ()) else ", ".join(options))
            yield from walk(group)

    groups = "\n".join(walk(""))
    return f"Groups, chosen by group=option; gancli help <group> explains the options:\n\n{groups}\n" if groups else ""


def setup() -> None:
    """Make the schemas, resolvers and search path known to Hydra; doing it again changes nothing."""
    # omegaconf 2.3 has another, legacy function under the name that 2.4 registers with.
    register: Any = OmegaConf.register_new_resolver if HYDRA_1_3 else OmegaConf.register_resolver
    register("gancli.stamp", _stamp, use_cache=True, replace=True)  # cached: one value per run
    register("gancli.slug", slug, replace=True)
    register("gancli.examples", _examples, replace=True)
    register("gancli.groups", _groups, replace=True)
    register("gancli.keys", _keys, replace=True)
    Plugins.instance().register(UserConf)
    ConfigStore.__deepcopy__ = _itself  # type: ignore[attr-defined]  # which Hydra does not have
    for group, keys in INNER.items():
        names = {file.stem for folder in (conf_dir(), *user_folders()) for file in (folder / group).glob("*.yaml")}
        for key, name in product(keys, names):
            _store_inner(group, key, name)
    for verb in VERBS:
        _store_schema(verb)
        _store(verb, {}, group=BASES, package="_global_")


def _itself(store: ConfigStore, memo: dict[int, Any]) -> ConfigStore:
    """Copy nothing of the store, which Hydra would do for each config and each group that --help lists: it took 2 s."""
    return store


@cache  # what is stored stays
def _store_inner(group: str, key: str, name: str) -> None:
    _store(name, {"defaults": [{f"/{group}@_here_": name}]}, group=f"{group}/{key}")


@cache
def _store_schema(verb: str) -> None:
    _store(verb, _schema(VERBS[verb].keys), group=SCHEMAS)


def _store(name: str, node: Any, **where: str) -> None:
    replace: dict[str, Any] = {} if HYDRA_1_3 else {"replace": True}
    ConfigStore.instance().store(name, node, **where, **replace)


@contextmanager
def mended_hydra() -> Iterator[None]:
    """Mend three things of Hydra while it runs a command line.

    Python 3.14's argparse checks help texts that Hydra 1.3 leaves lazy, and would fail before parsing. And Hydra
    composes every config twice, the first time only to see whether a yaml sets ``hydra.mode``, which costs a third of
    the time to start; here ``-m`` alone decides. And help and completion offer every group, those too that nobody
    types.
    """
    listed = ConfigLoaderImpl.get_group_options

    def typed(self: ConfigLoaderImpl, group_name: str, *args: Any, **kwargs: Any) -> list[str]:
        found = listed(self, group_name, *args, **kwargs)
        return found if group_name else [name for name in found if name not in INTERNAL]

    patches: list[tuple[type, str, Any]] = [
        (Hydra, "get_mode", lambda self, *args, **kwargs: None),
        (ConfigLoaderImpl, "get_group_options", typed),
    ]
    original = getattr(ArgumentParser, "_check_help", None)
    if original is not None and HYDRA_1_3:
        lazy = lambda self, action: original(self, action) if isinstance(action.help, str) else None  # noqa: E731
        patches.append((ArgumentParser, "_check_help", lazy))
    with ExitStack() as stack:
        for owner, name, value in patches:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        yield


def _schema(root: type[Any]) -> DictConfig:
    node = OmegaConf.structured(root)
    if any(
        each.name == "optimizer" for each in fields(root)
    ):  # any network's name may be typed below `overrides` without a `+`
        node.optimizer = OmegaConf.create({"overrides": DictConfig({}, flags={"struct": False})})
    for each in fields(root):
        if each.metadata.get("free"):
            node[each.name] = DictConfig({}, flags={"struct": False})
    return node


def _root_values(verb: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what may be taken from a saved config: the verb's own keys, so no ``hydra`` node, and never ``trust``."""
    known = {each.name for each in fields(VERBS[verb].keys)} - {"trust"}
    return {key: value for key, value in values.items() if key in known}


def add_base(verb: str, values: Mapping[str, Any]) -> None:
    """Put a checkpoint's own values below what is typed."""
    _store(verb, _root_values(verb, values), group=BASES, package="_global_")


def add_resume(values: Mapping[str, Any], folder: str) -> str:
    """Make a run's own config the primary one, writing into ``folder``, and return the name of that config."""
    defaults: list[Any] = [f"/{SCHEMAS}/train@_here_", "/hydra/gancli", "_self_", *({group: None} for group in FREE)]
    defaults += [{f"override hydra/{group}": "none"} for group in ("job_logging", "hydra_logging")]
    own = {"trust": [], "hydra": {"run": {"dir": folder}}}
    _store("resume", {"defaults": defaults, **_root_values("train", values), **own})
    return "resume"
