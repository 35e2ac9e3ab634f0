"""The options of a group of conf/, as they are written."""

from functools import cache
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from gancli.folders import conf_dir, user_folders


def options(group: str) -> dict[str, DictConfig]:
    """Return the options of a group by name: the shipped yaml files and the user's own."""
    files = [file for folder in (conf_dir(), *user_folders()) for file in sorted((folder / group).glob("*.yaml"))]
    parsed = {file.stem: _parsed(file, file.stat().st_mtime_ns, file.stat().st_size) for file in files}
    return {name: cast("DictConfig", OmegaConf.create(values)) for name, values in parsed.items()}


@cache  # a training asks for all views again and again
def _parsed(file: Path, changed: int, size: int) -> Any:
    """Return the plain content of a yaml file, which is read again where it changed."""
    return OmegaConf.to_container(OmegaConf.load(file), resolve=False)
