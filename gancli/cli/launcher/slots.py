"""How many jobs run at once on this machine, and what each of them may use: a GPU, or a share of the cores."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from gancli.errors import UsageError

AUTO = "auto"
# What there is where a GPU can be used: NVIDIA's driver, that of Windows below WSL, and AMD's.
DRIVERS = tuple(map(Path, ("/proc/driver/nvidia", "/dev/nvidiactl", "/dev/dxg", "/dev/kfd")))
GIB = 2  # of memory for a job on the CPU, for `auto`: a process with torch and a small model takes less than one


class Slots(NamedTuple):
    """What the jobs of a sweep may use at a time.

    Args:
        number: jobs that run at once.
        threads: CPU threads of each process.
        gpus: names of the GPUs as CUDA_VISIBLE_DEVICES has them, which the slots take in turn; empty: none is used.
        processes: that each job consists of; ``gpus`` then has the names of as many GPUs in one word, ``0,1``.
    """

    number: int
    threads: int
    gpus: tuple[str, ...] = ()
    processes: int = 1

    def environment(self, slot: int, typed: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a job in a slot, given that of this process, whose own choice of threads stays."""
        own = {} if typed.get("OMP_NUM_THREADS") else {"OMP_NUM_THREADS": str(self.threads)}
        if self.gpus:
            own["CUDA_VISIBLE_DEVICES"] = self.gpus[slot % len(self.gpus)]
        return {**typed, **own}

    def told(self) -> str:
        """Return how the jobs run, for the user."""
        each = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        several = f", {self.processes} processes each" if self.processes > 1 else ""
        gpus = len(self.gpus) * self.processes
        where = f", on {gpus} GPU{'s' * (gpus > 1)}" if self.gpus else ""
        return f"{self.number} at a time{where}{several}, {each} each"


def plan(asked: int | str = AUTO, *, device: str = "auto", threads: int | None = None, processes: int = 1) -> Slots:
    """Share this machine among jobs.

    Args:
        asked: number of slots; ``auto``: one per GPU, else one per core, or fewer where jobs have several threads each
            or there is little memory.
        device: that of the jobs, ``auto``, ``cpu`` or ``cuda``.
        threads: CPU threads of each process, if the user has chosen them: ``runtime.threads``, or OMP_NUM_THREADS.
        processes: that a job consists of, ``runtime.gpus`` or ``runtime.processes``; on a GPU, each has one.

    Raises:
        UsageError: ``asked`` is neither ``auto`` nor a number of 1 or more.
    """
    if asked != AUTO and (not isinstance(asked, int) or isinstance(asked, bool) or asked < 1):
        raise UsageError(f"launcher.slots={asked}: must be auto, or 1 or more")
    told = os.environ.get("OMP_NUM_THREADS", "")
    threads = threads or (int(told) if told.isdigit() and int(told) else None)
    gpus = () if device == "cpu" else visible_gpus()
    shared = tuple(",".join(gpus[i : i + processes]) for i in range(0, len(gpus) - processes + 1, processes))
    alone = min(cores() // (threads or 1), memory_gib() // GIB) // processes
    number = max(asked if isinstance(asked, int) else len(shared) or alone, 1)
    return Slots(number, threads or max(cores() // (number * processes), 1), shared, processes)


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_gib() -> int:
    """Return the free memory in GiB; a large number where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 2**20
    found = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return found[0] // 2**20 if found else 2**20


def visible_gpus() -> tuple[str, ...]:
    """Return the GPUs that this process sees; where there is no driver, torch is not imported to find that out."""
    if not any(each.exists() for each in DRIVERS):
        return ()
    import torch

    count = torch.cuda.device_count()
    named = [word.strip() for word in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if word.strip()]
    return tuple((named or list(map(str, range(count))))[:count])
