"""The available views, and the views of a model."""

from collections.abc import Mapping, Sequence
from typing import Any

from gancli import config
from gancli.errors import UsageError, did_you_mean
from gancli.models.base import Model
from gancli.models.shares import ALONE, Crew
from gancli.views.base import RunData, View


def build(chosen: Any, values: Mapping[str, Any] | None = None, *, trust: Sequence[str] = ()) -> View:
    """Build a view from its config, or from the name of an option in conf/view/, with some of its keys replaced.

    Raises:
        UsageError: the option is unknown, has no such key, or the target is not trusted.
    """
    if isinstance(chosen, str):
        options = config.options("view")
        if chosen not in options:
            known = ", ".join(sorted(options))
            raise UsageError(f"no view {chosen!r}{did_you_mean(chosen, options)} (allowed: {known})")
        chosen = options[chosen]
    return config.instantiate({**chosen, **(values or {})}, View, trust=trust)


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


def of_model(model: Model, chosen: Sequence[Any] | None, *, trust: Sequence[str] = ()) -> dict[str, View]:
    """Return views by name: the chosen ones, or, for None, the model's own.

    Args:
        model: what they show.
        chosen: names of options, or mappings of one such name to values of its keys: ``{completion: {mask: top}}``.
        trust: packages outside gancli whose classes may be instantiated.

    Raises:
        UsageError: a view is unknown, is chosen twice, has no such key or value, or cannot show the model.
    """
    views: dict[str, View] = {}
    for each in model.own_views() if chosen is None else chosen:
        name, values = _named(each)
        if name in views:
            raise UsageError(f"samples.views has {name} twice; pictures are named after their view, so omit one")
        views[name] = build(name, values, trust=trust)
        check_suits(views[name], model, trust=trust)
    return views


def _named(chosen: Any) -> tuple[str, Mapping[str, Any]]:
    if isinstance(chosen, str):
        return chosen, {}
    (name, values), *more = chosen.items() if isinstance(chosen, Mapping) and chosen else [("", None)]
    if more or not isinstance(values, Mapping) or "_target_" in values:
        raise UsageError(
            f"samples.views: {chosen} is no view; write its name, or its name and keys: {{completion: {{mask: top}}}}"
        )
    return str(name), values


def held_out(data: Mapping[str, Any]) -> str:
    """Return the split from which real images are shown: validation if the data config holds one out, else test."""
    return "validation" if data.get("validation", 0) else "test"


def run_data(
    data: Mapping[str, Any], classes: Sequence[str], images: int, *, trust: Sequence[str] = (), crew: Crew = ALONE
) -> RunData:
    """Return the data of a checkpoint, which is read later.

    Args:
        data: the config of the data.
        classes: names of the classes in the checkpoint.
        images: number of images that the model has seen.
        trust: packages outside gancli whose classes may be instantiated.
        crew: processes that draw together.
    """
    return RunData(lambda: config.build_data(data, trust=trust)[0], classes, images, held_out(data), crew)


def _trusted(trust: Sequence[str]) -> dict[str, Any]:
    """Return the options whose targets may be imported; a user's own options need ``trust``."""
    nodes = config.options("view")
    return {name: node for name, node in nodes.items() if config.targets.is_trusted(str(node["_target_"]), trust)}
