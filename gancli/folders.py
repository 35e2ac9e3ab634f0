"""The folders of configs, shipped and the user's own, and of runs; `gancli help` reads them before Hydra is there."""

import os
import re
from pathlib import Path

from gancli.errors import UsageError

INTERNAL = ("hydra", "internal", "local")  # groups that only other configs use


def conf_dir() -> Path:
    """Return the folder of the shipped configs: inside the package if installed, next to it in a checkout."""
    here = Path(__file__).resolve().parent
    for folder in (here / "conf", here.parent / "conf"):
        if (folder / "train.yaml").is_file():  # site-packages/conf may belong to another package
            return folder
    raise UsageError(f"this installation lacks its conf folder (looked in {here / 'conf'}); reinstall gancli")


def outputs() -> Path:
    """Return the root folder of all runs: $GANCLI_OUTPUTS, or outputs/."""
    return Path(os.environ.get("GANCLI_OUTPUTS") or "outputs").expanduser()


def typed_groups() -> list[str]:
    """Return the groups that one types, such as ``model`` and ``loss/adversarial``, of the shipped and own configs."""
    files = ((folder, file) for folder in (conf_dir(), *user_folders()) for file in folder.glob("*/**/*.yaml"))
    groups = {file.parent.relative_to(folder).as_posix() for folder, file in files}
    return sorted(group for group in groups if group.split("/")[0] not in INTERNAL)


def chosen_groups(verb: str) -> list[str]:
    """Return the groups that a verb's own yaml chooses an option of; others belong into the yamls of options."""
    return re.findall(r"^  - (\w+):", (conf_dir() / f"{verb}.yaml").read_text(encoding="utf-8"), re.M)


def user_folders() -> list[Path]:
    """Return the user's own config folders: those of $GANCLI_CONF, and ./conf.

    Raises:
        UsageError: $GANCLI_CONF names something other than folders.
    """
    named = [Path(p).expanduser() for p in os.environ.get("GANCLI_CONF", "").split(os.pathsep) if p]
    for folder in named:
        if not folder.is_dir():
            raise UsageError(f"GANCLI_CONF names {folder}, which is not a folder")
    found = [folder.resolve() for folder in (*named, Path("conf")) if folder.is_dir()]
    return [folder for folder in found if folder != conf_dir()]
