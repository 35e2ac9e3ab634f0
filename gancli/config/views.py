"""What a run's config says of its views, read from the sources of its classes without importing them."""

from collections.abc import Mapping
from typing import Any

from gancli.config import targets
from gancli.errors import UsageError


def first_views(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the views that the model of a run names, as Model.own_views() does; empty: its source does not say."""
    try:
        if targets.constant(str(config["data"]["_target_"]), "points"):
            return ("points",)
        return targets.constant(str(config["model"]["_target_"]), "views") or ()
    except (UsageError, KeyError, TypeError):
        return ()
