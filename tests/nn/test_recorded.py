"""Recording on a GPU, by stand-ins of torch.cuda that keep its rules: what is left behind where recording fails."""

import warnings
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from gancli.nn import recorded
from gancli.nn.recorded import CudaGraph


class Generator:
    """Refuses to draw once a recording has failed, as those of torch up to 2.11 do."""

    device = torch.device("cpu")

    def __init__(self, stuck=True):
        self.stuck, self.place = stuck, 7

    def get_state(self):
        return self.place

    def set_state(self, place):
        self.place = place

    def clone_state(self):
        return SimpleNamespace(place=self.place)

    def graphsafe_set_state(self, state):
        self.stuck, self.place = False, state.place


class Cuda:
    """The part of torch.cuda that records, with pools that are gone once no graph has them."""

    def __init__(self, monkeypatch):
        self.current, self.pools, self.ended, self.handles = "default", [], [], 0
        self.default, self.registered = Generator(), []
        for name in ("CUDAGraph", "graph", "Stream", "graph_pool_handle"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: self.current)
        monkeypatch.setattr(torch.cuda, "set_stream", lambda stream: setattr(self, "current", stream))
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.cuda, "default_generators", (self.default,))
        for name in recorded.ENDS:
            end = lambda device, pool, name=name: self.ended.append((name, pool))  # noqa: E731
            monkeypatch.setattr(torch._C, name, end, raising=False)  # torch without CUDA has none
        monkeypatch.setattr(torch, "rand", self.rand)
        for name, value in (("_stream", None), ("_pool", None)):
            monkeypatch.setattr(CudaGraph, name, value)
        CudaGraph._living.clear()

    def rand(self, *size, device, generator):
        if generator.stuck:
            raise RuntimeError("Offset increment outside graph capture encountered unexpectedly.")
        generator.place += 4

    def Stream(self):
        return "aside"

    def graph_pool_handle(self):
        self.handles += 1
        return self.handles

    def CUDAGraph(self):
        def register(generator):
            self.registered.append(generator)
            warnings.warn("register_generator_state() is deprecated", FutureWarning, stacklevel=2)

        def pool():
            if not graph.ended:
                raise RuntimeError("Called CUDAGraph::pool() without a preceding successful capture.")

        graph = SimpleNamespace(ended=False, pool=pool, register_generator_state=register)
        return graph

    @contextmanager
    def graph(self, graph, pool, stream, capture_error_mode):
        before, self.current = self.current, stream
        self.pools.append(pool)
        try:
            yield
        except RuntimeError as error:  # which CUDA does not end, so that the stream stays
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture") from error
        graph.ended, self.current = True, before


@pytest.fixture
def cuda(monkeypatch):
    return Cuda(monkeypatch)


def syncs():
    raise RuntimeError("CUDA error: operation not permitted when\nstream is capturing")


def test_graphs_share_a_pool_as_long_as_one_of_them_lives(cuda):
    first, second = CudaGraph([]), CudaGraph([])
    assert first.capture(lambda: 3) == 3
    second.capture(lambda: None)
    del first
    third = CudaGraph([])
    third.capture(lambda: None)
    assert cuda.pools == [1, 1, 1]
    del second, third
    CudaGraph([]).capture(lambda: None)  # torch asserts that a pool is used, and that of the dead ones is not
    assert cuda.pools == [1, 1, 1, 2]


def test_what_cannot_be_recorded_leaves_stream_pool_and_generators_as_they_were(cuda):
    other = CudaGraph([])
    other.capture(lambda: None)
    own = Generator()
    with pytest.raises(RuntimeError) as error:
        CudaGraph([own]).capture(syncs)
    assert recorded.reason(error.value) == "CUDA error: operation not permitted when stream is capturing"
    assert cuda.current == "default"
    assert cuda.ended == [(end, 1) for end in recorded.ENDS]
    assert not own.stuck and not cuda.default.stuck and own.place == cuda.default.place == 7
    CudaGraph([]).capture(lambda: None)
    assert cuda.pools == [1, 1, 2]


def test_generators_that_can_draw_keep_their_state(cuda):
    own = cuda.default = Generator(stuck=False)
    state = own.graphsafe_set_state = lambda state: pytest.fail("graphs that live would lose the generator")
    torch.cuda.default_generators = (own,)
    with pytest.raises(RuntimeError):
        CudaGraph([own]).capture(syncs)
    assert own.place == 7 and state is own.graphsafe_set_state


def test_work_that_fails_by_itself_is_told_as_it_is(cuda):
    def fails():
        raise ValueError("no such label")

    with pytest.raises(ValueError, match="no such label"):
        CudaGraph([]).capture(fails)
    assert cuda.current == "default"


def test_a_call_that_torch_no_longer_needs_is_made_without_its_warning(cuda):
    own = Generator()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        CudaGraph([own]).capture(lambda: None)
    assert cuda.registered == [own] and not told
