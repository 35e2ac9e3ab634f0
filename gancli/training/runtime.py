"""Where and how a run computes: device, precision, seeds, threads."""

import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed

from gancli.data import untrusted
from gancli.errors import UsageError


@dataclass(frozen=True)
class Runtime:
    """Device, precision and parallelism, shared by training, evaluation and sampling."""

    device: torch.device
    precision: str = "fp32"  # fp32 | bf16: the autocast dtype; weights and optimizers stay float32
    channels_last: bool | None = False  # None: where it is known to pay, see place()
    compile: bool = False  # torch.compile on every first-order term
    rank: int = 0  # of this process among those that train together
    world: int = 1  # number of those processes

    @classmethod
    def from_config(cls, cfg: Any) -> "Runtime":
        """Set up the process from the ``runtime`` group.

        Raises:
            UsageError: CUDA is requested but absent, or this is one of several processes.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise UsageError("WORLD_SIZE is above 1, but gancli trains on one device; start it without torchrun")
        untrusted.set_limit(cfg.unpack_gib)
        if cfg.threads:
            torch.set_num_threads(cfg.threads)
        if cfg.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # required for deterministic cuBLAS
        torch.use_deterministic_algorithms(cfg.deterministic)
        torch.backends.cudnn.benchmark = not cfg.deterministic
        device = _device(cfg.device)
        precision = ("bf16" if has_bf16(device) else "fp32") if cfg.precision == "auto" else cfg.precision
        return cls(device, precision, None if cfg.channels_last == "auto" else cfg.channels_last, cfg.compile)

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def all_reduce(self, tensors: Sequence[torch.Tensor]) -> None:
        """Average tensors over all processes in place, with one all-reduce per dtype."""
        if self.world == 1:
            return
        for kind in {each.dtype for each in tensors}:
            own = [each for each in tensors if each.dtype == kind]
            flat = torch.cat([each.flatten() for each in own])
            torch.distributed.all_reduce(flat)
            for each, mean in zip(own, (flat / self.world).split([each.numel() for each in own])):
                each.copy_(mean.view_as(each))

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.world > 1:
            torch.distributed.barrier()

    def autocast(self, enabled: bool = True) -> AbstractContextManager:
        """Return the context for first-order terms: bf16 autocast, or a null context for fp32."""
        if self.precision == "fp32" or not enabled:
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def place(self, module: torch.nn.Module) -> torch.nn.Module:
        """Move a module to the device and memory format.

        ``channels_last: auto`` stands for true on a GPU, and on a CPU for modules with a true ``channels_last_pays``.
        """
        module.to(self.device)
        return module.to(memory_format=torch.channels_last) if self._channels_last(module) else module

    def _channels_last(self, module: torch.nn.Module) -> bool:
        if self.channels_last is None:
            return self.device.type == "cuda" or bool(getattr(module, "channels_last_pays", False))
        return self.channels_last

    def machine(self) -> dict[str, Any]:
        """Return a description of the machine as plain values: device name, CPU threads, precision, torch version."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else f"CPU ({_processor()})"
        torch_ = str(torch.__version__)
        return {"device": name, "threads": torch.get_num_threads(), "precision": self.precision, "torch": torch_}

    def memory(self) -> dict[str, float]:
        """Return the peak device memory in GiB since the last call; empty on the CPU, where it is not tracked."""
        if self.device.type != "cuda":
            return {}
        peak = torch.cuda.max_memory_allocated(self.device) / 2**30
        torch.cuda.reset_peak_memory_stats(self.device)
        return {"runtime/memory_gib": peak}


def has_bf16(device: torch.device) -> bool:
    """Tell whether a device has instructions for bfloat16 products: a GPU since Ampere, a CPU with AMX or AVX512-BF16.

    Elsewhere bfloat16 is emulated, and slower than float32.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return not {"amx_bf16", "avx512_bf16"}.isdisjoint(_cpuinfo("flags").split())


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(name: str) -> str:
    """Return what Linux says of its first processor; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("runtime=cuda, but this torch sees no CUDA device; use runtime=cpu or runtime=auto")
    return torch.device(name)


def rng_state() -> dict[str, Any]:
    """Return the state of the global random generators, from which training draws latents and dropout masks."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def set_rng_state(state: dict[str, Any]) -> None:
    """Restore what rng_state() returned; CUDA states only if the number of devices is the same."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


@contextmanager
def undisturbed() -> Iterator[None]:
    """Restore the global random generators on exit, so that draws inside do not affect training."""
    state = rng_state()
    try:
        yield
    finally:
        set_rng_state(state)
