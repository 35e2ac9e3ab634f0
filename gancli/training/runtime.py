"""Where and how a run computes: device, precision, seeds, threads."""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from gancli.data import untrusted
from gancli.errors import UsageError
from gancli.models.base import Model
from gancli.nn.ranks import sum_, together
from gancli.nn.recorded import CudaGraph
from gancli.nn.sync_norm import synchronise_
from gancli.training import chip, pages, place, ranks

AUTO = "auto"


@dataclass(frozen=True)
class Runtime:
    """Device, precision and parallelism, shared by training, evaluation and sampling."""

    device: torch.device
    precision: str = "fp32"  # fp32 | bf16: the autocast dtype; weights and optimizers stay float32; auto: see suited()
    channels_last: bool | None = False  # None: where it is known to pay, see place()
    compile: bool = False  # torch.compile on every first-order term
    graphs: bool = False  # turns as CUDA graphs, see training.graphs, and steps of samplers of pixels
    rank: int = 0  # of this process among those that train together
    world: int = 1  # number of those processes
    sync_bn: bool = False  # batch norm takes its statistics over all of them
    meters: list[ranks.Meter] = field(default_factory=list, compare=False)  # one, where there are several processes

    @classmethod
    def from_config(cls, cfg: Any) -> "Runtime":
        """Set up the process from the ``runtime`` group.

        Raises:
            UsageError: CUDA or GPUs are requested but absent, or torchrun started what runs in one process.
        """
        group = ranks.group()
        if place.started(os.environ).world > 1 and group.world == 1:
            raise UsageError(
                "WORLD_SIZE is above 1, but only gancli train, eval and sample run in several processes; start this "
                "without torchrun"
            )
        untrusted.set_limit(cfg.unpack_gib)
        if cfg.threads:
            torch.set_num_threads(cfg.threads)
        if cfg.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # required for deterministic cuBLAS
        if cfg.deterministic != torch.are_deterministic_algorithms_enabled():
            torch.use_deterministic_algorithms(cfg.deterministic)  # imports torch's compiler, which takes a second
        torch.backends.cudnn.benchmark = not cfg.deterministic
        device = _device(cfg.device, group)
        if device.type == "cpu":
            pages.keep()
            chip.wake()
        if cfg.gpus and device.type != "cuda":
            raise UsageError(
                f"runtime.gpus={cfg.gpus}, but this torch sees no CUDA device; use runtime.gpus=null "
                f"runtime.processes={cfg.gpus}, which share the cores of the CPU"
            )
        torch.backends.cudnn.allow_tf32 = cfg.tf32 != "none"
        torch.backends.cuda.matmul.allow_tf32 = cfg.tf32 == "all"
        formats = {"auto": None, "gpu": device.type == "cuda"}
        formatted, several = formats.get(cfg.channels_last, cfg.channels_last), group.world > 1
        graphs = cfg.graphs and device.type == "cuda" and not several  # whose messages are not recorded
        meters = [ranks.Meter(device)] if several else []
        own = (group.rank, group.world, cfg.sync_bn and several, meters)
        return cls(device, cfg.precision, formatted, cfg.compile, graphs, *own)

    def suited(self, model: Any) -> "Runtime":
        """Return this runtime with a precision for a model that is to be trained, if ``precision`` is auto.

        It is bf16 on a device that computes in it, for models with a true ``bf16_pays`` and data without points, whose
        coordinates need more digits than the seven bits of bfloat16 hold.
        """
        return self._resolved(model.bf16_pays and not model.spec.points)

    def as_trained(self, settings: Any) -> "Runtime":
        """Return this runtime with the precision of a training, if ``precision`` is auto and the device computes in it.

        Args:
            settings: the ``runtime`` group of the training's config. Up to 0.2 it may say auto, for any model.
        """
        return self._resolved(settings.precision != "fp32")

    def _resolved(self, pays: bool) -> "Runtime":
        if self.precision != AUTO:
            return self
        return replace(self, precision="bf16" if pays and chip.has_bf16(self.device) else "fp32")

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    @torch.no_grad()
    def all_reduce(self, tensors: Sequence[torch.Tensor], *, metered: bool = True) -> None:
        """Average tensors over all processes in place, with one all-reduce per dtype.

        Args:
            tensors: of the device, in the same order in every process.
            metered: the time it takes is part of what cost() tells.

        Raises:
            RankLost: another process has ended.
        """
        if self.world == 1:
            return
        for kind in dict.fromkeys(each.dtype for each in tensors):  # in the same order everywhere
            own = [each for each in tensors if each.dtype == kind]
            flat = torch.cat([each.flatten() for each in own])
            with ExitStack() as stack:
                for meter in self.meters if metered else ():
                    stack.enter_context(meter.measured(flat))
                sum_(flat)
            for each, mean in zip(own, (flat / self.world).split([each.numel() for each in own])):
                each.copy_(mean.view_as(each))

    def average(self, tensors: Sequence[torch.Tensor]) -> None:
        """Average what is logged over all processes, in place; see all_reduce()."""
        self.all_reduce(tensors, metered=False)

    def together(self) -> AbstractContextManager[None]:
        """Return the context of a step's passes, in which formulas over the batch see those of all processes."""
        return together(self.world, self.rank)

    def cost(self) -> dict[str, float]:
        """Return the share of the time since the last call that means of gradients took, and their size in MB."""
        return {key: value for meter in self.meters for key, value in meter.read().items()}

    @property
    def dtype(self) -> str:
        """The type in which autocast() computes, as torch names it."""
        return "bfloat16" if self.precision == "bf16" else "float32"

    def autocast(self, enabled: bool = True) -> AbstractContextManager:
        """Return the context for first-order terms and for drawing: bf16 autocast, or a null context for fp32.

        What is auto, for no model is known yet, is fp32 as well.
        """
        if self.precision != "bf16" or not enabled:
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def place(self, module: torch.nn.Module) -> torch.nn.Module:
        """Move a module to the device and memory format.

        ``channels_last: auto`` stands for true on a GPU, and on a CPU for modules with a true ``channels_last_pays``.
        With ``sync_bn``, batch norm then takes its statistics over all processes; with ``graphs``, samplers of pixels
        record their steps.
        """
        for part in module.modules() if self.graphs else ():
            if isinstance(part, Model):
                part.graphs = CudaGraph
        if self.sync_bn:
            synchronise_(module)
        module.to(self.device)
        return module.to(memory_format=torch.channels_last) if self._channels_last(module) else module

    def _channels_last(self, module: torch.nn.Module) -> bool:
        if self.channels_last is None:
            return self.device.type == "cuda" or bool(getattr(module, "channels_last_pays", False))
        return self.channels_last

    def machine(self, model: torch.nn.Module | None = None) -> dict[str, Any]:
        """Return a description of the machine as plain values, with the settings that were chosen on it.

        They are the name of the device, CPU threads, precision and version of torch; the memory format of a model; on a
        CPU the instructions that torch computes with, for chips of one name differ; on a GPU which float32 operations
        may compute in TF32.
        """
        cuda = self.device.type == "cuda"
        described: dict[str, Any] = {
            "device": torch.cuda.get_device_name(self.device) if cuda else f"CPU ({chip.processor()})",
            "threads": torch.get_num_threads(), "precision": self.precision, "torch": str(torch.__version__),
        }  # fmt: skip
        if self.world > 1:
            described |= {"processes": self.world, "sync_bn": self.sync_bn}
        if model is not None:
            described["channels_last"] = self._channels_last(model)
        if not cuda:
            described["instructions"] = torch.backends.cpu.get_cpu_capability()
        else:
            allowed = {
                "convolutions": torch.backends.cudnn.allow_tf32, "matmuls": torch.backends.cuda.matmul.allow_tf32
            }  # fmt: skip
            described["tf32"] = [name for name, is_allowed in allowed.items() if is_allowed]
        return described

    def wait(self) -> None:
        """Wait until the device has done what it was given, so that a clock read afterwards includes it."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def memory(self) -> dict[str, float]:
        """Return the peak device memory in GiB since the last call; empty on the CPU, where it is not tracked."""
        if self.device.type != "cuda":
            return {}
        peak = torch.cuda.max_memory_allocated(self.device) / 2**30
        torch.cuda.reset_peak_memory_stats(self.device)
        return {"runtime/memory_gib": peak}

    def check_deterministic(self, *parts: torch.nn.Module) -> None:
        """Refuse what has no deterministic kernel on a GPU, before the first step fails there.

        A part says so by an attribute ``nondeterministic``, the name of its operation, see
        torch.use_deterministic_algorithms().

        Raises:
            UsageError: ``runtime.deterministic`` is set, the device is a GPU, and a part has such an operation.
        """
        if self.device.type != "cuda" or not torch.are_deterministic_algorithms_enabled():
            return
        for each in (module for part in parts for module in part.modules()):
            if name := getattr(each, "nondeterministic", None):
                raise UsageError(
                    f"runtime.deterministic=true: {name} of {type(each).__name__} has no deterministic kernel on a "
                    "GPU; use runtime=cpu, or runtime.deterministic=false"
                )

    def part_ways(self, *numbers: int) -> None:
        """Give this process random numbers of its own; those of the first stay as they are.

        Args:
            numbers: the seed, and what else the numbers should depend on.
        """
        if self.rank:
            torch.manual_seed(_seed(*numbers, self.rank))

    def rng_state(self) -> dict[str, Any]:
        """Return the state of the global random generators, from which training draws latents and dropout masks.

        ``cuda`` holds that of the run's own GPU, and is empty on a CPU: asking other GPUs would open a context on each.
        """
        cuda = [torch.cuda.get_rng_state(self.device)] if self.device.type == "cuda" else []
        return {"cpu": torch.get_rng_state(), "cuda": cuda}

    def set_rng_state(self, state: dict[str, Any], otherwise: tuple[int, ...] = ()) -> bool:
        """Restore what rng_state() returned on the same kind of device.

        The generators of another kind of device cannot be continued. Seeds from ``otherwise`` then take their place,
        which should be numbers that differ between checkpoints: else every resumed run draws the same latents again.

        Returns:
            Whether the state was restored.
        """
        cuda = self.device.type == "cuda"
        if cuda != bool(state["cuda"]):
            torch.manual_seed(_seed(*otherwise))  # of every device
            return False
        torch.set_rng_state(state["cpu"])
        if cuda:
            torch.cuda.set_rng_state(state["cuda"][0], self.device)  # up to 0.2 a list of all GPUs, ours the first
        return True

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Restore the global random generators on exit, so that draws inside do not affect training."""
        state = self.rng_state()
        try:
            yield
        finally:
            self.set_rng_state(state)


def _seed(*numbers: int) -> int:
    return hash(numbers) & 2**63 - 1  # tuples of ints hash alike everywhere


def _device(name: str, group: place.Group) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("runtime=cuda, but this torch sees no CUDA device; use runtime=cpu or runtime=auto")
    if name == "cpu" or group.world == 1:
        return torch.device(name)
    if group.local >= (there := torch.cuda.device_count()):
        raise UsageError(
            f"process {group.local + 1} of this machine finds no GPU of its own: there are {there}; use "
            f"runtime.gpus={there}, or runtime=cpu runtime.processes={group.world}"
        )
    torch.cuda.set_device(group.local)
    return torch.device("cuda", group.local)
