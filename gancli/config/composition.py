"""Setting up Hydra for gancli: its search path, schemas, resolvers, and the contributions of a saved config."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from itertools import product
from pathlib import Path
from textwrap import fill
from typing import Any, cast

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hydra.core.plugins import Plugins
from hydra.experimental.callback import Callback
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf

from gancli.config import mended, naming, reading
from gancli.errors import UsageError
from gancli.folders import chosen_groups, conf_dir, outputs, user_folders
from gancli.verbs import VERBS
from gancli.verbs.base import leaves

HYDRA_1_3 = mended.HYDRA_1_3
VERSION: dict[str, Any] = {"version_base": "1.3"} if HYDRA_1_3 else {}
# SweepFolder is the only class that Hydra itself may build.
MAIN: dict[str, Any] = VERSION or {"execution_whitelist": ["gancli.config.composition.*"]}
SCHEMAS = "hydra/gancli_schema"  # Hydra hides groups below hydra/ from --help
BASES = "hydra/gancli_base"  # values from a checkpoint's own config
LISTS = (list[str], list[str] | None, list[Any] | None)  # types of keys for which one word is a list of it
FREE = ("runtime", "features", "schedule")  # groups that a resumed run may change
INNER = {"data": ("a", "b", "of"), "loss": ("adversarial",)}  # keys that take an option of the same group: data/a=mnist


class UserConf(SearchPathPlugin):
    """Adds ./conf and the folders of $GANCLI_CONF to Hydra's search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in user_folders():
            search_path.append("gancli-user", f"file://{folder}")


class Refused(BaseException):
    """A sweep cannot begin. Of an Exception in a callback Hydra would make a warning, and go on."""

    def __init__(self, error: UsageError) -> None:
        super().__init__(str(error))
        self.error = error


class SweepFolder(Callback):
    """Remembers a sweep's folder; its jobs may run in other processes, so their results are read from there.

    It also remembers the keys that are swept over, which name the jobs' folders, and the name of the sweep, by which
    the same command finds its folder again.
    """

    folder: Path | None = None
    swept: tuple[str, ...] = ()
    kind: str = "sweep"  # the folder of the outputs that it lies in
    name: str = "sweep"
    new: bool = False  # another sweep is begun although there is one of the same command
    opens: Callable[[DictConfig, Path], None] | None = None  # is called before the first job

    @staticmethod
    def reset(
        *, kind: str = "sweep", new: bool = False, opens: Callable[[DictConfig, Path], None] | None = None
    ) -> None:
        """Forget the sweep of an earlier command line."""
        SweepFolder.folder, SweepFolder.swept, SweepFolder.name, SweepFolder.kind = None, (), "sweep", kind
        SweepFolder.new, SweepFolder.opens = new, opens

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        own = config.hydra.sweeper.get("params") or {}  # what a yaml sweeps over
        words = [*_words(config.hydra.overrides.task), *(f"{key}={value}" for key, value in own.items())]
        parsed = OverridesParser.create().parse_overrides(words)
        SweepFolder.swept = tuple(naming.key_of(each.input_line or "") for each in parsed if each.is_sweep_override())
        name = naming.of_sweep(config.hydra.job.config_name, words, SweepFolder.swept)
        SweepFolder.name = naming.newest(outputs() / SweepFolder.kind, name, new=SweepFolder.new)
        folder = Path(config.hydra.sweep.dir).resolve()
        if SweepFolder.opens is not None:
            try:
                SweepFolder.opens(config, folder)
            except UsageError as error:
                raise Refused(error) from error
        SweepFolder.folder = folder


@dataclass(frozen=True)
class JobInfo:
    """Hydra's information about the current job."""

    folder: Path
    overrides: list[str]
    choices: dict[str, str]  # chosen option by group
    number: int | None  # within its sweep; None outside of a sweep
    swept: tuple[str, ...] = ()  # keys that the sweep varies

    @classmethod
    def current(cls) -> "JobInfo":
        info = HydraConfig.get()
        number = info.job.num if info.mode is RunMode.MULTIRUN else None
        choices = {k: str(v) for k, v in info.runtime.choices.items() if not k.startswith("hydra/") and v}
        swept = () if number is None else SweepFolder.swept
        return cls(Path(info.runtime.output_dir), _words(info.overrides.task), choices, number, swept)


def _words(overrides: ListConfig | list[str]) -> list[str]:
    """Return the overrides exactly as they were written, including interpolations."""
    words = OmegaConf.to_container(overrides, resolve=False) if isinstance(overrides, ListConfig) else overrides
    return [str(word) for word in cast("list[str]", words)]


def with_lists(verb: str, overrides: Sequence[str], *, sweep: bool = False) -> list[str]:
    """Return the overrides with ``metrics=kid`` as ``metrics=[kid]`` for each key of a verb that is a list.

    In a sweep several values stand for jobs: ``metrics=[fid],[kid]``. ``batch_size=auto`` becomes ``accumulate=auto``.
    """
    one = r"[\w.,/-]+" if sweep else r"[\w./-]+"
    keys = dict(leaves(VERBS[verb].keys))
    lists = {name for name, each in keys.items() if each.type in LISTS}

    def mended(word: str) -> str:
        key, equals, value = word.partition("=")
        if not equals or key.lstrip("+") not in lists or value == "null" or not re.fullmatch(one, value):
            return "accumulate=auto" if word == "batch_size=auto" and "accumulate" in keys else word
        return f"{key}={','.join(f'[{each}]' for each in value.split(','))}"

    return [mended(word) for word in overrides]


def words_of(setting: str) -> list[str]:
    """Return the values of one setting of the command line, ``key=value`` or ``key=[value,value]``, as texts.

    Raises:
        hydra.errors.OverrideParseException: it cannot be parsed; the exception tells where.
    """
    value: Any = OverridesParser.create().parse_override(setting).value()
    values = value if isinstance(value, list) else [value]
    return [each.text if isinstance(each, QuotedString) else str(each) for each in values]


def slug(value: str | ListConfig) -> str:
    """Return the name of a folder: of a text, or of a job by its overrides."""
    return naming.of_text(value) if isinstance(value, str) else naming.of_job(_words(value), SweepFolder.swept)


def _keys(verb: str) -> str:
    """Return the root keys of a verb as its yaml explains them, for ``gancli <verb> --help``."""
    text = (conf_dir() / f"{verb}.yaml").read_text(encoding="utf-8")
    own = text.partition("\n# The keys:\n")[2].partition("\nhydra:")[0].rstrip()
    base = VERBS[verb].extends
    return f"{own}\n\nThe keys of gancli {base}:\n\n{_keys(base)}" if base else own


def _examples(verb: str) -> str:
    """Return the commands in the first lines of a verb's yaml."""
    lines = (conf_dir() / f"{verb}.yaml").read_text(encoding="utf-8").splitlines()
    return "\n".join(line.removeprefix("#") for line in lines[: lines.index("defaults:")])


def _groups(verb: str) -> str:
    """Return the groups that a verb accepts and their options, under a title, for ``gancli <verb> --help``."""
    loader, chosen = GlobalHydra.instance().config_loader(), chosen_groups(verb)
    trains = VERBS[verb].makes_runs or VERBS[verb].extends

    def walk(parent: str) -> Iterator[str]:
        for name in sorted(loader.list_groups(parent)):
            if not parent and not trains and name not in chosen:
                continue
            group = f"{parent}/{name}".lstrip("/")
            if options := sorted(loader.get_group_options(group)):
                said = f"as {parent}" if name in INNER.get(parent, ()) else ", ".join(options)
                yield fill(f"{group}: {said}", 120, subsequent_indent="  ", break_on_hyphens=False)
            yield from walk(group)

    groups = "\n".join(walk(""))
    return (
        f"Groups, chosen by group=option; gancli help <group> explains the options:\n\n{groups}\n\n" if groups else ""
    )


def setup(verb: str) -> None:
    """Register a verb's schema, and the resolvers and the search path, with Hydra; idempotent."""
    # omegaconf 2.4 registers with register_resolver(), which in 2.3 is a different, legacy function.
    register: Any = OmegaConf.register_new_resolver if HYDRA_1_3 else OmegaConf.register_resolver
    register("gancli.stamp", naming.stamp, use_cache=True, replace=True)  # cached: one value per run
    register("gancli.slug", slug, replace=True)
    register("gancli.sweep", lambda: f"{SweepFolder.kind}/{SweepFolder.name}", use_cache=True, replace=True)
    register("gancli.examples", _examples, replace=True)
    register("gancli.groups", _groups, replace=True)
    register("gancli.keys", _keys, replace=True)
    Plugins.instance().register(UserConf)
    reading.setup()
    mended.setup({each.name for each in fields(VERBS[verb].keys)} - set(chosen_groups(verb)))
    for group, keys in INNER.items():
        names = {file.stem for folder in (conf_dir(), *user_folders()) for file in (folder / group).glob("*.yaml")}
        for key, name in product(keys, names):
            _store_inner(group, key, name)
    _store_schema(verb)
    _store(verb, {}, group=BASES, package="_global_")


@cache  # the store is never cleared
def _store_inner(group: str, key: str, name: str) -> None:
    _store(name, {"defaults": [{f"/{group}@_here_": name}]}, group=f"{group}/{key}")


@cache
def _store_schema(verb: str) -> None:
    node = structured(VERBS[verb].keys)
    if base := VERBS[verb].extends:
        values = cast("DictConfig", OmegaConf.load(conf_dir() / f"{base}.yaml"))
        node.merge_with({each.name: values[each.name] for each in fields(VERBS[base].keys) if each.name in values})
    _store(verb, node, group=SCHEMAS)


def _store(name: str, node: Any, **where: str) -> None:
    replace: dict[str, Any] = {} if HYDRA_1_3 else {"replace": True}
    ConfigStore.instance().store(name, node, **where, **replace)


def store_launcher(name: str, node: Mapping[str, Any]) -> None:
    """Make a launcher an option of ``hydra/launcher``."""
    _store(name, dict(node), group="hydra/launcher")


def shown(cfg: DictConfig, package: str | None, *, resolve: bool) -> str:
    """Return a job's config, or one node of it, as Hydra shows it. Raises UsageError if there is no such node."""
    node = cfg if package is None else OmegaConf.select(cfg, package)
    if node is None:
        raise UsageError(f"package {package!r} not found in config")
    if not OmegaConf.is_config(node):
        return str(node)
    if resolve:
        OmegaConf.resolve(node)
    return ("" if package is None else f"# @package {package}\n") + OmegaConf.to_yaml(node).rstrip("\n")


def structured(root: type[Any]) -> DictConfig:
    """Return the typed config of a verb's dataclass of keys, most of them without a value."""
    node = OmegaConf.structured(root)
    if any(each.name == "optimizer" for each in fields(root)):  # any network's name is allowed without a `+`
        node.optimizer = OmegaConf.create({"overrides": DictConfig({}, flags={"struct": False})})
    for each in fields(root):
        if each.metadata.get("free"):
            node[each.name] = DictConfig({}, flags={"struct": False})
    return node


def _root_values(verb: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what may be taken from a saved config: the verb's own keys, except what only one command may say."""
    known = {each.name for each in fields(VERBS[verb].keys)} - {"trust", "other_data"}
    return {key: value for key, value in values.items() if key in known}


def add_base(verb: str, values: Mapping[str, Any]) -> None:
    """Use a checkpoint's own values as defaults, which the command line can override."""
    _store(verb, _root_values(verb, values), group=BASES, package="_global_")


def add_resume(values: Mapping[str, Any], folder: str) -> str:
    """Make a run's own config the primary one, with ``folder`` as the run folder, and return its name."""
    defaults: list[Any] = [f"/{SCHEMAS}/train@_here_", "/hydra/gancli", "_self_", *({group: None} for group in FREE)]
    defaults += [{f"override hydra/{group}": "none"} for group in ("job_logging", "hydra_logging")]
    own = {"trust": [], "other_data": False, "hydra": {"run": {"dir": folder}}}
    _store("resume", {"defaults": defaults, **_root_values("train", values), **own})
    return "resume"
