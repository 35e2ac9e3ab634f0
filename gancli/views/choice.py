"""The available views, and the views of a model."""

from collections.abc import Mapping, Sequence
from typing import Any

from gancli import config
from gancli.errors import UsageError, did_you_mean
from gancli.models.base import Model
from gancli.views.base import RunData, View


def build(chosen: Any, *, trust: Sequence[str] = ()) -> View:
    """Build a view from its config, or from the name of an option in conf/view/ with its values.

    Raises:
        UsageError: the option is unknown, or the target is not trusted.
    """
    if isinstance(chosen, str):
        options = config.options("view")
        if chosen not in options:
            known = ", ".join(sorted(options))
            raise UsageError(f"no view {chosen!r}{did_you_mean(chosen, options)} (allowed: {known})")
        chosen = options[chosen]
    return config.instantiate(chosen, View, trust=trust)


def check_suits(view: View, model: Model, *, trust: Sequence[str] = ()) -> None:
    """Refuse a view that cannot show a model.

    Raises:
        UsageError: the view cannot show the model; the message names the views that can.
    """
    if view.suits(model):
        return
    kinds: dict[str, type[View]] = {
        key: config.target_class(node, View, trust=trust) for key, node in _trusted(trust).items()
    }
    fitting = ", ".join(name for name, kind in kinds.items() if kind.suits(model))
    raise UsageError(
        f"{type(view).__name__} shows {view.needs}, which {type(model).__name__} is not; its views are: {fitting} "
        "(view=...)"
    )


def of_model(model: Model, names: Sequence[str] | None, *, trust: Sequence[str] = ()) -> dict[str, View]:
    """Return views by name: the given ones, or, for None, the model's own.

    Raises:
        UsageError: a view is unknown or cannot show the model.
    """
    views = {name: build(name, trust=trust) for name in (model.own_views() if names is None else names)}
    for view in views.values():
        check_suits(view, model, trust=trust)
    return views


def held_out(data: Mapping[str, Any]) -> str:
    """Return the split from which real images are shown: validation if the data config holds one out, else test."""
    return "validation" if data.get("validation", 0) else "test"


def run_data(data: Mapping[str, Any], classes: Sequence[str], images: int, *, trust: Sequence[str] = ()) -> RunData:
    """Return the data of a checkpoint, which is read later.

    Args:
        data: the config of the data.
        classes: names of the classes in the checkpoint.
        images: number of images that the model has seen.
        trust: packages outside gancli whose classes may be instantiated.
    """
    return RunData(lambda: config.build_data(data, trust=trust)[0], classes, images, held_out(data))


def _trusted(trust: Sequence[str]) -> dict[str, Any]:
    """Return the options whose targets may be imported; a user's own options need ``trust``."""
    nodes = config.options("view")
    return {name: node for name, node in nodes.items() if config.targets.is_trusted(str(node["_target_"]), trust)}
