"""Networks that have sizes and no values."""

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

FILLS = torch.Tensor.normal_, torch.Tensor.uniform_


class Unfilled(TorchFunctionMode):
    """Leave out initialisations, for networks on the device ``meta``.

    There, torch fills tensors by reference implementations in Python, whose first call imports its compiler, which
    takes as long as importing torch does.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init" or func in FILLS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
