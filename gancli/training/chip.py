"""What the chip is called, what it computes in, and what makes it faster."""

import platform
from pathlib import Path

import torch
from torch.nn.functional import gelu

BF16 = frozenset({"amx_bf16", "avx512_bf16"})  # what Linux calls the instructions of a CPU for products in bfloat16


def has_bf16(device: torch.device) -> bool:
    """Tell whether a device has instructions for bfloat16 products: a GPU since Ampere, a CPU with AMX or AVX512-BF16.

    Elsewhere bfloat16 is emulated, and slower than float32.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return not BF16.isdisjoint(cpuinfo("flags").split())


def wake() -> None:
    """Compute hyperbolic tangents with vector instructions once, in every thread of torch on the CPU.

    In a process that has not done so, exp(x) - 1 and log(1 + x) in float32, and with them ELU and softplus, took seven
    times as long (AMD EPYC, torch 2.14): a tenth of a turn of ``model=lmconv``, a twentieth of one of ``vae_conv``.
    """
    gelu(torch.zeros(2**20), approximate="tanh")


def processor() -> str:
    """Return the name of the CPU."""
    return cpuinfo("model name") or platform.processor() or platform.machine()


def cpuinfo(name: str) -> str:
    """Return what Linux says of its first processor; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
