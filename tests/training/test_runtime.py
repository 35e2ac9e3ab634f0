"""Device, precision, seeds: what is chosen, and what is refused."""

import json
import math
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import compose, overrides

from gancli import config
from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.losses.augmentation import ADA, Augment
from gancli.models.base import Model
from gancli.models.cyclegan import CycleGAN
from gancli.training import chip
from gancli.training.build import build
from gancli.training.runtime import Runtime

BF16 = chip.BF16  # the tests' own chip has none of them, see conftest.py


def settings(**changes):
    plain = {
        "device": "cpu",
        "precision": "fp32",
        "channels_last": False,
        "compile": False,
        "deterministic": False,
        "threads": None,
        "gpus": None,
        "tf32": "convolutions",
        "unpack_gib": 2.0,
        "graphs": False,
        "sync_bn": False,
    }
    return SimpleNamespace(**plain | changes)


def test_a_cpu_is_woken_before_it_trains(monkeypatch) -> None:
    woken, before = [], torch.get_rng_state()
    monkeypatch.setattr(chip, "gelu", lambda x, approximate: woken.append((x.numel(), approximate)))
    Runtime.from_config(settings())
    ((size, how),) = woken
    assert how == "tanh" and size >= 32_768 * 32  # at::internal::GRAIN_SIZE of each of 32 threads
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_asked_for_and_absent():
    with pytest.raises(UsageError, match="runtime=cpu"):
        Runtime.from_config(settings(device="cuda"))
    assert Runtime.from_config(settings(device="auto")).device.type == "cpu"
    with pytest.raises(UsageError, match="runtime.gpus=2, but this torch sees no CUDA device; .*processes=2"):
        Runtime.from_config(settings(device="auto", gpus=2))


@pytest.mark.parametrize(
    ("more", "told"),
    [({}, "RANK or LOCAL_RANK is not"), ({"RANK": "0", "LOCAL_RANK": "0"}, "start this without torchrun")],
)
def test_one_of_several_processes_is_refused(more, told, monkeypatch):
    """Where the processes have not met: only gancli train lets them."""
    for name, value in {"WORLD_SIZE": "2", **more}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=f"WORLD_SIZE.*{told}"):
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


def test_torchs_compiler_is_not_imported_for_a_setting_that_stays(monkeypatch):
    """It takes more than a second, which sampling and scoring need not spend."""
    calls = []
    monkeypatch.setattr(torch, "use_deterministic_algorithms", calls.append)
    Runtime.from_config(settings())
    assert calls == []
    Runtime.from_config(settings(deterministic=True))
    assert calls == [True]


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


CHIPS = {"fpu amx_bf16": "bf16", "avx512f avx512_bf16 sse": "bf16", "fpu avx512f": "fp32"}


def kind(pays=True, points=0):
    return SimpleNamespace(bf16_pays=pays, spec=SimpleNamespace(points=points))


@pytest.mark.parametrize("flags", CHIPS)
def test_automatic_precision_follows_the_chip_and_the_kind_of_network(flags, monkeypatch):
    monkeypatch.setattr(chip, "BF16", BF16)
    monkeypatch.setattr(chip, "cpuinfo", lambda name: flags)
    runtime = Runtime.from_config(settings(precision="auto"))
    assert runtime.suited(kind()).precision == CHIPS[flags] and runtime.suited(kind()).machine()["precision"] != "auto"
    assert runtime.suited(kind(pays=False)).precision == runtime.suited(kind(points=2)).precision == "fp32"
    assert runtime.dtype == "float32" and not isinstance(runtime.autocast(), torch.autocast)  # of no network yet
    for before, now in (("fp32", "fp32"), ("bf16", CHIPS[flags]), ("auto", CHIPS[flags])):
        assert runtime.as_trained(SimpleNamespace(precision=before)).precision == now
    for told in ("fp32", "bf16"):
        runtime = Runtime.from_config(settings(precision=told))
        assert {runtime.suited(kind(each)).precision for each in (True, False)} == {told}
        assert runtime.as_trained(SimpleNamespace(precision="bf16")).precision == told


def test_no_kind_of_network_computes_slower_by_default():
    """Every recipe whose networks compute in bfloat16 by default was measured, and is faster in it on this chip."""
    measured = {}
    folder = Path(__file__).parents[1] / "benchmarks/results"
    for file in {*folder.glob("*-cpu-*-avx512.json")} - {*folder.glob("formats-*")}:  # one thread, two
        for name, found in json.loads(file.read_text())["recipes"].items():
            measured[name] = min(measured.get(name, math.inf), found["ratios"]["bf16 / fp32"])
    classes = {name: config.target_class(node, Model, trust=[]) for name, node in config.options("model").items()}
    chosen = {name for name, each in classes.items() if each.bf16_pays}
    assert len(chosen & {*measured}) > 20
    assert [name for name in chosen & {*measured} if measured[name] < 1.02] == []
    assert {classes[name] for name in chosen} == {classes[name] for name in chosen & {*measured}}


def test_no_kind_of_network_has_the_slower_memory_format_by_default():
    """Those in channels_last on a CPU were measured, and are faster in it; all that gain a tenth are in it."""
    file = Path(__file__).parents[1] / "benchmarks/results/formats-cpu-amd-epyc-avx512.json"
    found = json.loads(file.read_text())["recipes"]
    measured = {name: each["ratios"]["channels last / channels first"] for name, each in found.items()}
    classes = {name: config.target_class(node, Model, trust=[]) for name, node in config.options("model").items()}
    chosen = {name for name in measured if classes[name].channels_last_pays}
    assert chosen - {"dcgan"} == {name for name, ratio in measured.items() if ratio >= 1.1}
    assert measured["dcgan"] > 1.02  # a third on another chip


def test_automatic_memory_format_follows_the_network():
    runtime = Runtime.from_config(settings(channels_last="auto"))
    nets = torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(3, 4, 3)
    nets[1].channels_last_pays = True
    formats = [runtime.place(net).weight.is_contiguous(memory_format=torch.channels_last) for net in nets]
    assert formats == [False, True]


def test_a_gpu_has_its_own_default_of_the_memory_format(monkeypatch):
    assert Runtime.from_config(settings(channels_last="gpu")).channels_last is False
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert Runtime.from_config(settings(channels_last="gpu", device="auto")).channels_last is True


@pytest.mark.parametrize("tf32", ["none", "all", "convolutions"])  # torch's own is the last
def test_tf32_is_set_for_the_process(tf32):
    Runtime.from_config(settings(tf32=tf32))
    assert torch.backends.cudnn.allow_tf32 is (tf32 != "none")
    assert torch.backends.cuda.matmul.allow_tf32 is (tf32 == "all")


def test_what_is_drawn_undisturbed_changes_nothing():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    with Runtime(torch.device("cpu")).undisturbed():
        torch.rand(100)
    assert torch.equal(torch.rand(3), expected)


def test_rng_state_round_trip():
    runtime = Runtime(torch.device("cpu"))
    state = runtime.rng_state()
    first = torch.rand(3)
    assert runtime.set_rng_state(state) and torch.equal(torch.rand(3), first)


def test_random_numbers_of_another_kind_of_device_are_replaced_and_differ_between_checkpoints():
    runtime = Runtime(torch.device("cpu"))
    from_gpu = runtime.rng_state() | {"cuda": [torch.zeros(16, dtype=torch.uint8)]}
    drawn = []
    for otherwise in ((0, 64), (0, 64), (0, 128), (1, 64)):
        assert not runtime.set_rng_state(from_gpu, otherwise)
        drawn.append(torch.rand(3).tolist())
    assert drawn[0] == drawn[1] and len({tuple(each) for each in drawn}) == 3


def test_the_machine_is_described_with_what_was_chosen_on_it():
    nets = torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(3, 4, 3)
    nets[1].channels_last_pays = True
    chosen = [Runtime.from_config(settings(channels_last="auto")).machine(net)["channels_last"] for net in nets]
    assert chosen == [False, True]


@pytest.mark.parametrize("device, on, refused", [("cuda", True, True), ("cuda", False, False), ("cpu", True, False)])
def test_what_has_no_deterministic_kernel_is_refused_early(device, on, refused):
    torch.use_deterministic_algorithms(on)
    try:
        cyclegan = CycleGAN(ImageSpec(1, 8, 8, source_channels=1), width=4, blocks=1)
        for part in (ADA(), Augment(0.5, {"geometry": 1.0}), cyclegan):
            with pytest.raises(UsageError, match="deterministic=true: the backward") if refused else nullcontext():
                Runtime(torch.device(device)).check_deterministic(torch.nn.Linear(1, 1), torch.nn.Sequential(part))
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("part", [ADA(transforms=["color"]), Augment(0.5, {"color": 1.0, "cutout": 1.0})])
def test_changes_of_colours_alone_have_deterministic_kernels(part):
    torch.use_deterministic_algorithms(True)
    try:
        Runtime(torch.device("cuda")).check_deterministic(part)
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("model, precision", [("dcgan", "bf16"), ("lmconv", "fp32")])
def test_a_run_notes_the_precision_that_it_computes_in(model, precision, monkeypatch):
    monkeypatch.setattr(chip, "has_bf16", lambda device: True)
    run = build(compose("train", overrides(model)))
    assert (
        run.runtime.precision == run.cfg.runtime.precision == run.runtime.machine(run.model)["precision"] == precision
    )
    assert f"precision: {precision}" in run.state()["config"]  # which resuming starts from
