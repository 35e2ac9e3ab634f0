"""What a turn asks of the device, what the device could do, and how much memory that takes."""

import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import DeviceType
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from gancli.training.runtime import Runtime
from gancli.verbs.bench.timing import Clock, Wait

TRIALS, TIMES = 5, 3  # the fastest of so many trials counts, each of so many calls
SIDES = {"cpu": 1024, "cuda": 8192}  # of the square matrices
BYTES = {"cpu": 2**27, "cuda": 2**30}  # that are copied: more than caches hold
CGROUP = Path("/sys/fs/cgroup/memory.max")  # of a container


class Work(TorchDispatchMode):
    """Counts what operators do, backward passes included, while it is active.

    - `operators`: calls of operators that compute something, so no views.
    - `flops`: floating-point operations of products of matrices and of convolutions, 2 m n k for a product, by torch's
      own formulas (torch.utils.flop_counter).
    - `bytes`: what operators read and write if each reads its arguments once and writes its results once. What caches
      keep is counted, too, and what a kernel reads again is not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operators = self.flops = self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        given, made = _tensors((args, kwargs)), _tensors(result)
        if not func._schema.is_mutable and _memory(given) & _memory(made):
            return result  # a view
        self.operators += 1
        self.bytes += sum(map(_size, given)) + sum(map(_size, _written(func, args, kwargs) or made))
        formula = flop_registry.get(func.overloadpacket)
        self.flops += int(formula(*args, **kwargs, out_val=result)) if formula is not None else 0
        return result


def _tensors(values: Any) -> list[Tensor]:
    return [each for each in tree_leaves(values) if isinstance(each, Tensor)]


def _memory(tensors: list[Tensor]) -> set[int]:
    return {each.untyped_storage()._cdata for each in tensors}


def _size(tensor: Tensor) -> int:
    """Return the bytes of a tensor; an expanded one has no more than its memory."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


def _written(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """Return the arguments that an operator changes in place."""
    if not func._schema.is_mutable:
        return []
    named = [*zip(func._schema.arguments, args), *((a, kwargs.get(a.name)) for a in func._schema.arguments)]
    return _tensors([value for a, value in named if a.alias_info is not None and a.alias_info.is_write])


def kernels(runtime: Runtime, turns: Callable[[], Any]) -> int | None:
    """Return the number of kernels, copies and fills that a GPU was given; None on a CPU, where operators are called.

    Args:
        runtime: the device.
        turns: the work, without annotations of its own.
    """
    if runtime.device.type != "cuda":
        return None
    with profiler(runtime) as profile:
        turns()
        runtime.wait()
    return launched(profile.events())


def launched(events: Any) -> int:
    """Return how many of a profile's events are work of a GPU, without the ranges that only name others."""
    return sum(each.device_type == DeviceType.CUDA and not each.is_user_annotation for each in events)


def profiler(runtime: Runtime) -> torch.profiler.profile:
    """Return torch's profiler for the host and the device."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # else it reports its start, and the absence of a GPU as an error
    kinds = [torch.profiler.ProfilerActivity.CPU]
    kinds += [torch.profiler.ProfilerActivity.CUDA] if runtime.device.type == "cuda" else []
    return torch.profiler.profile(activities=kinds)


class Ceilings(NamedTuple):
    """What a device reaches in the two simplest operations."""

    flops: float  # per second, of a large product of matrices in the run's precision
    bytes: float  # per second, read and written, of a large copy


def ceilings(runtime: Runtime, clock: Clock = time.perf_counter) -> Ceilings:
    """Measure a device, in the same process and with the same settings as the training beside it."""
    kind, wait = runtime.device.type, runtime.wait
    side, size = SIDES[kind], BYTES[kind]
    a, b = (torch.randn(side, side, device=runtime.device, dtype=getattr(torch, runtime.dtype)) for _ in range(2))
    product = torch.empty_like(a)
    multiplied = fastest(lambda: torch.mm(a, b, out=product), wait, clock)
    source = torch.zeros(size, dtype=torch.uint8, device=runtime.device)
    target = torch.empty_like(source)
    copied = fastest(lambda: target.copy_(source), wait, clock)
    return Ceilings(2 * side**3 / multiplied, 2 * size / copied)


def fastest(call: Callable[[], Any], wait: Wait, clock: Clock) -> float:
    """Return the seconds of one call in the fastest of some trials; the first call is not counted."""
    call()
    return min(_trials(call, wait, clock))


def _trials(call: Callable[[], Any], wait: Wait, clock: Clock) -> Iterator[float]:
    for _ in range(TRIALS):
        wait()
        start = clock()
        for _ in range(TIMES):
            call()
        wait()
        yield (clock() - start) / TIMES


class Memory(NamedTuple):
    """The most memory that was in use at one moment."""

    kind: str  # how it is measured
    peak: int  # bytes
    total: int  # bytes that there are


def memory(runtime: Runtime) -> Memory:
    """Return the peak since the process began, or on a GPU since its statistics were reset, and what there is."""
    if runtime.device.type == "cuda":
        total = torch.cuda.get_device_properties(runtime.device).total_memory
        return Memory("max_memory_allocated", torch.cuda.max_memory_allocated(runtime.device), total)
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):  # no container, or one without a limit: max
        total = min(total, int(CGROUP.read_text()))
    return Memory("peak resident set of the process", peak, total)
