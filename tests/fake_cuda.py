"""A GPU that is not there: tensors with a device, shapes and types but without values, from torch's FakeTensorMode.

An operation on tensors of two devices fails on them as it would on a GPU, and one that needs a value, such as
``.item()``, fails since there is none. Backward passes need a real GPU: torch.autograd.grad() is replaced by a function
of the same shapes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class OnDevice(TorchDispatchMode):
    """Refuse operations that make a tensor on the CPU, which would be copied to the GPU in every step."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for each in tree_leaves(out):
            if isinstance(each, Tensor) and each.device.type == "cpu":
                raise AssertionError(f"{func._schema.name} makes a tensor on the CPU")
        return out


class Fused(TorchDispatchMode):
    """Stand in for fused optimizers, of which torch has no fake: their tensors, the rate among them, are on the GPU."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func._schema.name.startswith("aten::_fused_"):
            return func(*args, **(kwargs or {}))
        assert func._overloadname == "tensor_lr", "the rate is a number, which a recording would repeat"
        assert all(each.device.type == "cuda" for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor))
        return None


class FakeCuda:
    """Make fake tensors, and run code on them."""

    def __init__(self) -> None:
        self.mode = FakeTensorMode()

    def tensor(self, like: Tensor) -> Tensor:
        """Return a fake CUDA tensor of the same shape, type and memory format."""
        with self.mode:
            return torch.empty_strided(like.size(), like.stride(), dtype=like.dtype, device="cuda")

    def module(self, module: nn.Module) -> nn.Module:
        """Replace the parameters and buffers of a module by fake ones, in place; other tensors stay what they are."""
        for each in module.modules():
            for name, value in each._parameters.items():
                if value is not None:
                    each._parameters[name] = nn.Parameter(self.tensor(value), requires_grad=value.requires_grad)
            for name, value in each._buffers.items():
                if value is not None:
                    each._buffers[name] = self.tensor(value)
        return module

    @contextmanager
    def running(self, *, strict: bool = True) -> Iterator[None]:
        """Run what is inside on fake tensors; ``strict`` refuses operations that make tensors on the CPU, too."""
        real = torch.autograd.grad
        torch.autograd.grad = _grad
        try:
            with self.mode:
                if not strict:
                    yield
                    return
                with OnDevice():
                    yield
        finally:
            torch.autograd.grad = real


@contextmanager
def bf16() -> Iterator[None]:
    """Autocast to bfloat16 as on a GPU, which torch.autocast() switches off where there is none."""
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    torch.autocast_increment_nesting()
    try:
        yield
    finally:
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()
        torch.set_autocast_enabled("cuda", False)


def _grad(outputs: Any, inputs: Tensor | Sequence[Tensor], *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
    """Return tensors of the shapes of the gradients, which depend on outputs and inputs as those do."""
    inputs = [inputs] if isinstance(inputs, Tensor) else inputs
    total = sum(each.sum() for each in ([outputs] if isinstance(outputs, Tensor) else outputs))
    return tuple(each * total for each in inputs)
