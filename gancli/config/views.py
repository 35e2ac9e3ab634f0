"""The views of a run, read from the sources of its config's classes without importing them."""

from collections.abc import Mapping
from typing import Any

from gancli.config import targets
from gancli.errors import UsageError


def first_views(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the views that a run's model names, like Model.own_views(); empty if its source does not tell."""
    try:
        if targets.constant(str(config["data"]["_target_"]), "points"):
            return ("points",)
        return targets.constant(str(config["model"]["_target_"]), "views") or ()
    except (UsageError, KeyError, TypeError):
        return ()
