"""Device, precision, seeds: what is chosen, and what is refused."""

from types import SimpleNamespace

import pytest
import torch

from gancli.errors import UsageError
from gancli.training import runtime as runtime_module
from gancli.training.runtime import Runtime, rng_state, set_rng_state, undisturbed


def settings(**changes):
    plain = {
        "device": "cpu",
        "precision": "fp32",
        "channels_last": False,
        "compile": False,
        "deterministic": False,
        "threads": None,
        "unpack_gib": 2.0,
    }
    return SimpleNamespace(**plain | changes)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_asked_for_and_absent():
    with pytest.raises(UsageError, match="runtime=cpu"):
        Runtime.from_config(settings(device="cuda"))
    assert Runtime.from_config(settings(device="auto")).device.type == "cpu"


def test_one_of_several_processes_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="WORLD_SIZE"):
        Runtime.from_config(settings())


def test_deterministic_and_threads():
    before = torch.get_num_threads()
    try:
        Runtime.from_config(settings(deterministic=True, threads=2))
        assert torch.are_deterministic_algorithms_enabled() and torch.get_num_threads() == 2
        assert not torch.backends.cudnn.benchmark
        Runtime.from_config(settings())
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_num_threads(before)


def test_precision_is_that_of_autocast_alone():
    x, w = torch.ones(2, 2), torch.ones(2, 2)
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        runtime = Runtime(torch.device("cpu"), precision)
        with runtime.autocast():
            assert (x @ w).dtype == dtype
        with runtime.autocast(False):
            assert (x @ w).dtype == torch.float32


def test_channels_last():
    net = Runtime(torch.device("cpu"), channels_last=True).place(torch.nn.Conv2d(3, 4, 3))
    assert net.weight.is_contiguous(memory_format=torch.channels_last)


def test_automatic_values_follow_the_chip_and_the_network(monkeypatch):
    for flags, expected in (("fpu amx_bf16", "bf16"), ("avx512f avx512_bf16 sse", "bf16"), ("fpu avx512f", "fp32")):
        monkeypatch.setattr(runtime_module, "_cpuinfo", lambda name, flags=flags: flags)
        assert Runtime.from_config(settings(precision="auto")).precision == expected
    runtime = Runtime.from_config(settings(channels_last="auto"))
    nets = torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(3, 4, 3)
    nets[1].channels_last_pays = True
    formats = [runtime.place(net).weight.is_contiguous(memory_format=torch.channels_last) for net in nets]
    assert formats == [False, True]


def test_what_is_drawn_undisturbed_changes_nothing():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    with undisturbed():
        torch.rand(100)
    assert torch.equal(torch.rand(3), expected)


def test_rng_state_round_trip():
    state = rng_state()
    first = torch.rand(3)
    set_rng_state(state)
    assert torch.equal(torch.rand(3), first)
