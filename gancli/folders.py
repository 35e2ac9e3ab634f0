"""Where configs lie, the shipped ones and the user's own; read by the help as well, before Hydra is there."""

import os
from pathlib import Path

from gancli.errors import UsageError

INTERNAL = ("hydra", "internal", "local")  # groups that other options choose, and nobody types


def conf_dir() -> Path:
    """Return the folder of the shipped configs: inside an installed wheel, or next to the package in a checkout."""
    here = Path(__file__).resolve().parent
    for folder in (here / "conf", here.parent / "conf"):
        if (folder / "train.yaml").is_file():  # a marker: site-packages/conf may be someone else's
            return folder
    raise UsageError(f"this installation lacks its conf folder (looked in {here / 'conf'}); install gancli again")


def user_folders() -> list[Path]:
    """Return the user's own config folders: those of $GANCLI_CONF, and ./conf.

    Raises:
        UsageError: $GANCLI_CONF names something else than folders.
    """
    named = [Path(p).expanduser() for p in os.environ.get("GANCLI_CONF", "").split(os.pathsep) if p]
    for folder in named:
        if not folder.is_dir():
            raise UsageError(f"GANCLI_CONF names {folder}, which is no folder")
    found = [folder.resolve() for folder in (*named, Path("conf")) if folder.is_dir()]
    return [folder for folder in found if folder != conf_dir()]
