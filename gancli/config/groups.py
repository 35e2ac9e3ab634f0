"""The options of a group of conf/, as they are written."""

import pickle
from functools import cache
from pathlib import Path

from omegaconf import DictConfig

from gancli.config import reading
from gancli.folders import conf_dir, user_folders


def options(group: str) -> dict[str, DictConfig]:
    """Return the options of a group by name: the shipped yaml files and the user's own."""
    files = [file for folder in (conf_dir(), *user_folders()) for file in sorted((folder / group).glob("*.yaml"))]
    parsed = {file.stem: _parsed(file, file.stat().st_mtime_ns, file.stat().st_size) for file in files}
    return {name: pickle.loads(each) for name, each in parsed.items()}


@cache  # a training asks for all views again and again
def _parsed(file: Path, changed: int, size: int) -> bytes:
    """Return a yaml file's config, pickled, of which copies are made fast; it is read again where it changed."""
    with file.open(encoding="utf-8") as opened:
        return pickle.dumps(reading.Kept.load(opened))
