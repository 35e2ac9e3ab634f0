"""Loading the config of an earlier run for ckpt= and resume=, before Hydra composes."""

from pathlib import Path
from typing import Any

from gancli import config
from gancli.cli import short, status
from gancli.cli.arguments import is_sweep, replaced, value_of
from gancli.config import composition
from gancli.errors import UsageError
from gancli.folders import outputs
from gancli.training import checkpoint
from gancli.verbs.base import Verb

CONFIG = "config.yaml"
FIXED = ("data", "model", "loss", "optimizer", "experiment", "internal/recipe")  # a resumed run keeps these


def read(path: Path) -> Any:
    """Return the resolved training config of a run folder or a checkpoint file; a folder does not need torch.

    Raises:
        UsageError: it cannot be read.
    """
    file = checkpoint.run_dir(path) / CONFIG
    if path.is_dir() and file.is_file():
        return config.from_file(file)
    return config.from_yaml(checkpoint.load_config(path))


def prepare(verb: Verb, settings: list[str], *, multirun: bool) -> tuple[str, list[str], Any]:
    """Make the config of the checkpoint on the command line, if there is one, the base of what Hydra composes.

    Returns:
        The primary config's name, the settings to pass to Hydra, and the config of a resumed run or None.

    Raises:
        UsageError: no such checkpoint, or settings that a resumed run cannot change.
    """
    composition.setup(verb.name)
    key = verb.checkpoint or ""
    value = value_of(settings, key) if key else None
    if value is None or value in ("", "null", "???") or (multirun and is_sweep(value)):
        if value and "," in value and short.takes(verb):  # short keys are expanded by the first checkpoint, for all
            settings, own = short.expanded(verb, settings, read(_named(value.partition(",")[0])))
            if any(word.startswith("view.") for word in settings):
                composition.add_base(verb.name, own)
        elif value is None and short.takes(verb):
            short.check_typed(verb, settings)
        return verb.name, settings, None  # with several checkpoints, each job reads its own
    if verb.makes_runs and multirun:
        raise UsageError(f"{key}= continues one run; omit -m")
    path = _named(value)
    checkpoint.find(path)
    settings = replaced(settings, key, str(path))
    if verb.makes_runs:
        return _resume(path, settings)
    base: dict[str, Any] = {}
    if verb.inherited:
        base |= verb.inherited(read(path), lambda key: value_of(settings, key) is not None)
    if short.takes(verb):
        settings, own = short.expanded(verb, settings, read(path))
        base |= own
    composition.add_base(verb.name, base)
    return verb.name, settings, None


def _named(value: str) -> Path:
    return checkpoint.latest() if value == checkpoint.LATEST else Path(value).expanduser()


def _resume(path: Path, settings: list[str]) -> tuple[str, list[str], Any]:
    """Make the run's own config the primary one; a group given again must have the same option."""
    run = checkpoint.run_dir(path)
    choices = (status.read(run) or {}).get("choices", {})
    kept = []
    for word in settings:
        group, _, choice = word.lstrip("+").partition("=")
        if group not in FIXED:
            kept.append(word)
        elif choices.get(group) != choice:
            own = f" ({choices[group]})" if group in choices else ""
            raise UsageError(f"{word}: a resumed run keeps its {group}{own}; omit it, or omit resume=")
    saved = read(path)
    anew = [group for group in composition.FREE if value_of(settings, group)]
    base = {key: value for key, value in saved.items() if key not in anew}
    alone = path.is_file() and path.parent.name != checkpoint.FOLDER  # a file outside of a run folder
    return composition.add_resume(base, f"{outputs()}/resumed/${{gancli.stamp:}}" if alone else str(run)), kept, saved


def check_resumed(cfg: Any, saved: Any) -> None:
    """Refuse a config whose targets differ from those of the checkpoint.

    Raises:
        UsageError: a target was changed.
    """
    for group in ("data", "model", "loss", "optimizer"):
        if cfg[group]["_target_"] != saved[group]["_target_"]:
            raise UsageError(f"{group}._target_: a resumed run keeps its {group} ({saved[group]['_target_']})")
