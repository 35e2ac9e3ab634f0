"""Recorded work: what a piece of code launches on a GPU, recorded once and then launched as a whole, again and again.

The rules are those of "Whole-network capture" in PyTorch's notes on CUDA semantics: the same memory at every replay,
and nothing that waits for the device. training/graphs.py records turns, models/pixel_sampling.py steps of samplers.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch


class Graph(Protocol):
    """Records operations on a device, and repeats them on the same memory."""

    def __init__(self, generators: list[torch.Generator]) -> None: ...

    @classmethod
    def warm(cls, work: Callable[[], Any]) -> Any: ...

    def capture(self, work: Callable[[], Any]) -> Any: ...

    def replay(self) -> None: ...


class CudaGraph:
    """torch.cuda.CUDAGraph; all share one pool of memory, as no two are replayed at once.

    Args:
        generators: of random numbers, beside the device's default one, that the work draws from. Each replay moves all
            of them on as its operations would.
    """

    _shared: tuple[torch.cuda.Stream, Any] | None = None

    def __init__(self, generators: list[torch.Generator]) -> None:
        self.graph, self.generators = torch.cuda.CUDAGraph(), generators

    @classmethod
    def _aside(cls) -> tuple[torch.cuda.Stream, Any]:
        """Return the stream that graphs are recorded on, and their pool of memory."""
        if cls._shared is None:
            cls._shared = torch.cuda.Stream(), torch.cuda.graph_pool_handle()
        return cls._shared

    @classmethod
    def warm(cls, work: Callable[[], Any]) -> Any:
        """Do the work on the stream of the recording, as what a graph uses has to be allocated there."""
        stream, _ = cls._aside()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            found = work()
        torch.cuda.current_stream().wait_stream(stream)
        return found

    def capture(self, work: Callable[[], Any]) -> Any:
        """Record what the work launches, without doing it, and return the memory that a replay writes its results to.

        Threads that read data go on meanwhile, hence ``thread_local``.
        """
        stream, pool = self._aside()
        for each in self.generators:
            self.graph.register_generator_state(each)
        with torch.cuda.graph(self.graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            return work()

    def replay(self) -> None:
        self.graph.replay()


def reason(error: RuntimeError) -> str:
    """Return in one line why work could not be recorded; torch raises RuntimeError for whatever it cannot."""
    return " ".join(str(error).split())[:200]
