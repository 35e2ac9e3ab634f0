"""How a machine is shared among the jobs of a sweep."""

import pytest

from gancli.cli.launcher import slots
from gancli.errors import UsageError


@pytest.fixture
def machine(monkeypatch):
    """Return a function that makes this machine one of so many cores, GiB and GPUs."""

    def make(cores: int, gib: int = 1000, gpus: int = 0) -> None:
        monkeypatch.setattr(slots, "cores", lambda: cores)
        monkeypatch.setattr(slots, "memory_gib", lambda: gib)
        monkeypatch.setattr(slots, "visible_gpus", lambda: tuple(map(str, range(gpus))))

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return make


@pytest.mark.parametrize(
    "has, asked, number, threads, gpus",
    [
        ((8,), {}, 8, 1, 0),
        ((8,), {"threads": 3}, 2, 3, 0),
        ((8,), {"threads": 16}, 1, 16, 0),
        ((8,), {"asked": 3}, 3, 2, 0),
        ((2,), {"asked": 5}, 5, 1, 0),
        ((64, 9), {}, 4, 16, 0),
        ((64, 1), {}, 1, 64, 0),
        ((16, 100, 4), {}, 4, 4, 4),
        ((16, 100, 4), {"device": "cuda", "asked": 8}, 8, 2, 4),
        ((16, 100, 4), {"device": "cpu"}, 16, 1, 0),
        ((16, 100, 4), {"processes": 2}, 2, 4, 2),
        ((16, 100, 3), {"processes": 4}, 4, 1, 0),
        ((16,), {"processes": 4}, 4, 1, 0),
    ],
)
def test_shares(machine, has, asked, number, threads, gpus) -> None:
    machine(*has)
    found = slots.plan(**asked)
    assert (found.number, found.threads, len(found.gpus)) == (number, threads, gpus)


def test_threads_that_the_user_chose_stay(machine, monkeypatch) -> None:
    machine(8)
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    found = slots.plan()
    assert (found.number, found.threads) == (2, 4)
    assert found.environment(0, {"OMP_NUM_THREADS": "4", "A": "b"}) == {"OMP_NUM_THREADS": "4", "A": "b"}
    assert slots.Slots(1, 2).environment(0, {}) == {"OMP_NUM_THREADS": "2"}


def test_slots_take_the_gpus_in_turn() -> None:
    shared = slots.Slots(3, 1, ("2", "5"))
    assert [shared.environment(i, {})["CUDA_VISIBLE_DEVICES"] for i in range(3)] == ["2", "5", "2"]


def test_a_job_of_several_processes_has_a_gpu_for_each(machine) -> None:
    machine(16, 100, 5)
    shared = slots.plan(processes=2)
    assert [shared.environment(i, {})["CUDA_VISIBLE_DEVICES"] for i in range(3)] == ["0,1", "2,3", "0,1"]
    assert shared.told() == "2 at a time, on 4 GPUs, 2 processes each, 4 threads each"


@pytest.mark.parametrize("wrong", [0, -1, "many", True, 1.5])
def test_other_numbers_are_refused(machine, wrong) -> None:
    machine(2)
    with pytest.raises(UsageError, match="launcher.slots=.*must be auto, or 1 or more"):
        slots.plan(wrong)


@pytest.mark.parametrize(
    "named, count, found",
    [
        (None, 2, ("0", "1")), ("", 0, ()), ("-1", 0, ()), ("3,1", 2, ("3", "1")),
        ("GPU-5f, GPU-a1", 2, ("GPU-5f", "GPU-a1")),
        ("0,-1,2", 1, ("0",)),  # CUDA ends the list at the first that is none
    ],
)  # fmt: skip
def test_gpus_have_the_names_that_cuda_visible_devices_gives_them(named, count, found, monkeypatch, tmp_path) -> None:
    """Wherever one of the drivers is; without any, torch is not asked."""
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    monkeypatch.setattr(slots, "DRIVERS", (tmp_path / "none", tmp_path))
    assert slots.visible_gpus() == found
    monkeypatch.setattr(slots, "DRIVERS", (tmp_path / "none",))
    assert slots.visible_gpus() == ()
