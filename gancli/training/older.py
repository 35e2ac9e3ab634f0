"""States of checkpoints in earlier formats, put into the form that this release loads."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from gancli.nn.maxout import Maxout

BY_UNIT = ("gancli-1", "gancli-2")  # formats in which the filters of maxout layers are ordered by unit


def renewed(state: dict[str, Any], model: nn.Module, trained: Mapping[str, Sequence[Tensor]] | None = None) -> Any:
    """Return the state of a checkpoint with weights, averages and optimizer moments in today's order.

    Args:
        state: as it was saved, of any format that can be read; it is not changed.
        model: whose weights they are.
        trained: the parameters of each phase's optimizer, in its order; None: optimizers are not needed.
    """
    rows = _rows(model) if state["format"] in BY_UNIT else {}
    if not rows:
        return state
    found = {**state, **{part: {key: _taken(each, rows.get(key)) for key, each in state[part].items()}
                         for part in ("model", "ema")}}  # fmt: skip
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    saved = dict(state["optimizers"])
    for phase, parameters in (trained or {}).items():
        optimizer = saved[phase]["optimizer"]
        moments = dict(optimizer["state"])
        for i, parameter in enumerate(parameters):
            if (index := rows.get(names[id(parameter)])) is not None and i in moments:
                moments[i] = {key: _taken(value, index) for key, value in moments[i].items()}
        saved[phase] = {**saved[phase], "optimizer": {**optimizer, "state": moments}}
    return {**found, "optimizers": saved}


def _rows(model: nn.Module) -> dict[str, Tensor]:
    """Return, for each parameter whose rows had another order, where each of its rows was."""
    layers = {name: module for name, module in model.named_modules() if isinstance(module, Maxout)}
    return {f"{name}.linear.{key}": each.rows_by_unit() for name, each in layers.items() for key in ("weight", "bias")}


def _taken(value: Any, rows: Tensor | None) -> Any:
    """Return the rows of a tensor that has as many; what has another size is a count, or will be refused."""
    if rows is None or not isinstance(value, Tensor) or not value.ndim or len(value) != len(rows):
        return value
    return value[rows.to(value.device)]
