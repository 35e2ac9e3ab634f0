"""The operations of a traced network as callables, in place where possible, with their arguments."""

import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from gancli.nn.incremental import Node
from gancli.nn.labels import Condition
from gancli.nn.pixelwise import concat_elu

# Operations that can overwrite their argument, and their in-place versions.
IN_PLACE: dict[Any, Callable[..., Tensor]] = {
    torch.relu: Tensor.relu_, F.relu: Tensor.relu_, nn.ReLU: Tensor.relu_,
    F.elu: F.elu_, nn.ELU: F.elu_,
    operator.add: Tensor.add_, torch.add: Tensor.add_,
}  # fmt: skip
INTO = (concat_elu,)  # operations of one argument that accept ``out``
FRESH = (
    torch.cat,
    operator.add,
    torch.add,
    operator.mul,
    torch.mul,
    operator.neg,
)  # operations that allocate their result


def function(network: nn.Module, trace: fx.Node) -> Callable[..., Any]:
    """Return the callable of an operation."""
    if trace.op == "call_module":
        return network.get_submodule(target_name(trace))
    if trace.op == "call_method":
        method = target_name(trace)
        return lambda x, *args, **kwargs: getattr(x, method)(*args, **kwargs)
    assert not isinstance(trace.target, str)
    return trace.target


def target_name(trace: fx.Node) -> str:
    """Return the name of the submodule, method or parameter that a node of a trace uses."""
    assert isinstance(trace.target, str)
    return trace.target


def in_place(network: nn.Module, trace: fx.Node) -> Callable[..., Tensor] | None:
    """Return the in-place version of an operation, or None if there is none or it has options."""
    layer = network.get_submodule(target_name(trace)) if trace.op == "call_module" else None
    if trace.kwargs or (isinstance(layer, nn.ELU) and layer.alpha != 1):
        return None
    return IN_PLACE.get(trace.target if layer is None else type(layer))


def caller(
    function: Callable[..., Any], trace: fx.Node, slots: dict[fx.Node, int], values: list[Any]
) -> Callable[[], Any]:
    """Return a closure that calls ``function`` with the arguments of a node, read from ``values``."""

    def reader(arg: Any) -> Callable[[], Any]:
        if isinstance(arg, fx.Node):
            return partial(values.__getitem__, slots[arg])
        if isinstance(arg, list | tuple) and any(isinstance(each, fx.Node) for each in arg):
            inner = [reader(each) for each in arg]
            return lambda: [read() for read in inner]
        return lambda: arg

    nodes = [arg for arg in trace.args if isinstance(arg, fx.Node)]
    if not trace.kwargs and len(nodes) == len(trace.args):
        if len(nodes) == 1:
            (slot,) = slots.values()
            return lambda: function(values[slot])
        fetch = operator.itemgetter(*(slots[node] for node in nodes))
        return lambda: function(*fetch(values))
    args, kwargs = [reader(arg) for arg in trace.args], trace.kwargs
    return lambda: function(*[read() for read in args], **kwargs)


def constants(
    network: nn.Module, nodes: Sequence[Node], index: dict[fx.Node, int], label: Condition | None
) -> dict[int, Any]:
    """Return the values of the condition alone, (n, channels, 1, 1) or (n, channels, H, W), and the parameters."""
    found: dict[int, Any] = {}
    for i, node in enumerate(nodes):
        trace = node.trace
        if not node.constant:
            continue
        if trace.op == "placeholder":
            found[i] = label
        elif trace.op == "get_attr":
            found[i] = operator.attrgetter(target_name(trace))(network)
        else:
            args = fx.node.map_arg(trace.args, lambda n: found[index[n]])
            kwargs = fx.node.map_arg(trace.kwargs, lambda n: found[index[n]])
            found[i] = function(network, trace)(*args, **kwargs)
    return found
