"""Recorded work: what a piece of code launches on a GPU, recorded once and then launched as a whole, again and again.

The rules are those of "Whole-network capture" in PyTorch's notes on CUDA semantics: the same memory at every replay,
and nothing that waits for the device. training/graphs.py records turns, models/pixel_sampling.py steps of samplers.
"""

import warnings
import weakref
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any, ClassVar, Protocol

import torch

_OLD = "_cuda_endAllocateCurrentStreamToPool"  # the name in torch 2.6
ENDS = (_OLD if hasattr(torch._C, _OLD) else "_cuda_endAllocateToPool", "_cuda_releasePool")  # end the use of a pool


class Graph(Protocol):
    """Records operations on a device, and repeats them on the same memory."""

    def __init__(self, generators: list[torch.Generator]) -> None: ...

    @classmethod
    def warm(cls, work: Callable[[], Any]) -> Any: ...

    def capture(self, work: Callable[[], Any]) -> Any: ...

    def replay(self) -> None: ...


class CudaGraph:
    """torch.cuda.CUDAGraph; all that live at a time share one pool of memory, as no two are replayed at once.

    Args:
        generators: of random numbers, beside the device's default one, that the work draws from. Each replay moves all
            of them on as its operations would.
    """

    _stream: ClassVar[torch.cuda.Stream | None] = None
    _pool: ClassVar[Any] = None
    _living: ClassVar["weakref.WeakSet[CudaGraph]"] = weakref.WeakSet()  # those that were recorded into the pool

    def __init__(self, generators: list[torch.Generator]) -> None:
        self.graph, self.generators = torch.cuda.CUDAGraph(), generators

    @classmethod
    def _aside(cls) -> torch.cuda.Stream:
        """Return the stream that graphs are recorded on."""
        if CudaGraph._stream is None:
            CudaGraph._stream = torch.cuda.Stream()
        return CudaGraph._stream

    @classmethod
    def warm(cls, work: Callable[[], Any]) -> Any:
        """Do the work on the stream of the recording, as what a graph uses has to be allocated there."""
        stream = cls._aside()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            found = work()
        torch.cuda.current_stream().wait_stream(stream)
        return found

    def capture(self, work: Callable[[], Any]) -> Any:
        """Record what the work launches, without doing it, and return the memory that a replay writes its results to.

        Threads that read data go on meanwhile, hence ``thread_local``.

        Raises:
            RuntimeError: an operation cannot be recorded; work that is done afterwards is not affected.
        """
        if CudaGraph._pool is None or not self._living:  # torch refuses a pool whose last graph is gone
            CudaGraph._pool = torch.cuda.graph_pool_handle()
        pool, before = CudaGraph._pool, torch.cuda.current_stream()
        self._register()
        with ExitStack() as stack:
            stack.callback(self._abandon, pool, before)
            with torch.cuda.graph(self.graph, pool=pool, stream=self._aside(), capture_error_mode="thread_local"):
                found = work()
            stack.pop_all()
        self._living.add(self)
        return found

    def replay(self) -> None:
        self.graph.replay()

    def _register(self) -> None:
        """Name the generators to the graph, which since torch 2.12 finds them by itself and warns of the call."""
        register = getattr(self.graph, "register_generator_state", None)
        if register is None:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for each in self.generators:
                register(each)

    def _abandon(self, pool: Any, before: torch.cuda.Stream) -> None:
        """Undo what a recording that failed leaves behind, where torch does not.

        CUDA refuses to end it, so that torch.cuda.graph() returns before it has restored the stream, the allocator goes
        on to serve the recording from its pool, and up to torch 2.11 generators refuse to draw outside of one.
        """
        torch.cuda.set_stream(before)
        CudaGraph._pool = None
        device = torch.cuda.current_device()
        try:
            self.graph.pool()  # exists once the recording was ended
        except RuntimeError:
            for end in ENDS:
                with suppress(RuntimeError, AttributeError):
                    getattr(torch._C, end)(device, pool)
        for each in (torch.cuda.default_generators[device], *self.generators):
            state = each.get_state()
            try:
                torch.rand((), device=each.device, generator=each)
                each.set_state(state)
            except RuntimeError:
                each.graphsafe_set_state(each.clone_state())


def reason(error: RuntimeError) -> str:
    """Return in one line why work could not be recorded; torch raises RuntimeError for whatever it cannot.

    The first error says it: the next one, when torch then ends the recording, only says that there was one.
    """
    while isinstance(error.__context__, RuntimeError):
        error = error.__context__
    return " ".join(str(error).split())[:200]
