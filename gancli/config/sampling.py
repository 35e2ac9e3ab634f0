"""The options of sampling: which models take which, and whether values are theirs."""

from collections.abc import Mapping
from typing import Any

from gancli.config import targets
from gancli.config.check import check_arguments
from gancli.config.groups import options
from gancli.errors import UsageError


def offering(key: str) -> list[str]:
    """Return the options of conf/model whose set_sampling() takes a key, read from their sources."""
    return [name for name, node in options("model").items() if key in sampling_keys(node)]


def sampling_keys(node: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the keys of ``sampling`` that the model of a node takes; none if its source cannot be found."""
    try:
        return tuple(targets.method(str(node["_target_"]), "set_sampling").parameters)
    except UsageError:  # a yaml of the user's own whose package is not there
        return ()


def others(key: str) -> str:
    """Return the end of a message on a key that a model's sampling lacks: which models have it, if any does."""
    names = offering(key)
    return f"; models that have it: {', '.join(names)}" if names else ""


def check_sampling(values: dict[str, Any], node: Mapping[str, Any]) -> None:
    """Check the values of ``sampling`` for the model of a node; a count such as 20k becomes a number in place.

    Raises:
        UsageError: the model does not take such a key or value; for a key, the message names the models that have it.
    """
    target = str(node["_target_"])
    for key in [each for each in values if each not in sampling_keys(node)]:
        try:
            check_arguments({key: values[key]}, target, "set_sampling", "sampling")
        except UsageError as error:
            raise UsageError(f"{error}{others(key)}") from error
    check_arguments(values, target, "set_sampling", "sampling")
