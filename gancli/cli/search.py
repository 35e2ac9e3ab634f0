"""A search from its words to its trials: what is searched, what all trials share, and what is told at the end.

gancli tune model=dcgan data=mnist space=gan_lr trials=30

Its config is composed and checked once, without the settings that are searched. Then the trials run as the jobs of a
sweep of the verb that it extends, whose values come from a study (launcher/search.py).
"""

import re
from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gancli.cli import command, sweep
from gancli.cli.job import Job
from gancli.errors import UsageError
from gancli.verbs import VERBS
from gancli.verbs.base import Verb

if TYPE_CHECKING:
    from gancli.verbs.tune.study import Settings

OPTUNA = 5  # the least major version
SAME = ("eval", "features", "images", "epochs", "trust")  # keys that no trial has of its own, nor below them
GROUPS = ("data", "experiment")


@dataclass
class Search:
    """What a sweep needs in order to search.

    Args:
        verb: the verb that searches.
        words: its command line, for going on.
        config: checked, without what is searched.
        settings: of the study.
    """

    verb: Verb
    words: list[str]
    config: Any
    settings: "Settings"

    def sweeper(self) -> dict[str, Any]:
        """Return the node of Hydra's sweeper."""
        from gancli.cli.launcher import plugin, search

        plugin.register(search.SearchSweeper)
        return {"_target_": f"{search.SearchSweeper.__module__}.SearchSweeper", **asdict(self.settings)}

    def report(self, folder: Path, code: int) -> int:
        """Tell the end of the search in a folder; return the exit code, 1 if no trial is complete."""
        found = self.verb.run(self.config, folder)
        if code > 128 or found["trials"] > sum(found[state] for state in ("done", "pruned", "failed")):
            print(f"to go on with the search:\n{sweep.again(self.words)}", flush=True)
        return code or int("best" not in found)


def run(verb: Verb, flags: list[str], settings: list[str]) -> int:
    """Search, or show the config that the trials share.

    Raises:
        UsageError: nothing to search, no Optuna, or what a search cannot have.
    """
    check_installed(verb.name)
    from gancli.config import composition, space

    if "--multirun" in flags:
        raise UsageError(f"{verb.name} trains many times by itself; omit -m")
    for word in settings:
        if word.startswith((f"{sweep.LAUNCHER}=", "hydra/sweeper=")):
            raise UsageError(f"{word}: trials run under gancli's own launcher; omit it (launcher.slots= is allowed)")
        if word.startswith("eval.split=") and word != "eval.split=validation":
            raise UsageError(f"{word}: trials are compared on the validation split alone; omit it")
    composition.setup(verb.name)
    words = composition.with_lists(verb.name, settings)
    single, typed = space.split(words)
    job = Job(verb.name, only_config=True)
    code = command.once(job, flags, [word for word in single if not word.startswith(("hydra.", "launcher.", "sweep="))])
    if code or "--cfg" in flags or "--info" in flags:
        return code
    given = {_key(word) for word in words}
    if {"eval.every", "evaluations"} <= given:
        raise UsageError("evaluations and eval.every both say when trials are scored; omit one of them")
    named = [f"{key}={value}" for key, value in job.config.space.items() if _key(key) not in given]
    trains = VERBS[verb.extends or ""]
    own = {each.name for each in fields(verb.keys)} - {each.name for each in fields(trains.keys)}
    _check_space([*space.split(named)[1], *typed], own)
    from gancli.verbs.tune.objective import chosen  # imports torch

    objective = chosen(job.config, often="eval.every" in given)
    print(objective.told, flush=True)
    left = {*own, *map(_key, objective.words)}
    searches = Search(verb, [verb.name, *flags, *settings], job.config, objective.settings)
    shared = [word for word in words if _key(word) not in left]
    return command.once(Job(trains.name), ["--multirun", *flags], [*named, *shared, *objective.words], searches)


def check_installed(name: str) -> None:
    """Refuse to search without Optuna. Raises UsageError."""
    try:
        found = version("optuna")
    except PackageNotFoundError:
        found = ""
    if not found or int(found.partition(".")[0]) < OPTUNA:
        has = f"has {found} here" if found else "is not installed"
        raise UsageError(f"gancli {name} needs Optuna {OPTUNA}, which {has}; run:\npip install 'gancli[{name}]'")


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+~")


def _check_space(axes: Sequence[str], own: Container[str]) -> None:
    """Refuse a search without values, or one over what trials must have in common."""
    if not axes:
        raise UsageError("nothing to search: add space=gan_lr, or values such as 'optimizer.lr=interval(1e-5,1e-3)'")
    for key in map(_key, axes):
        root = re.split("[./@]", key)[0]
        if root in own or root in SAME or key in GROUPS:
            raise UsageError(f"{key}: trials that differ in it cannot be compared; give it one value")
