"""Truncated normal noise in closed form."""

import math

import torch
from torch import Generator, Tensor


def truncated_normal(*shape: int, threshold: float, device: torch.device, generator: Generator | None = None) -> Tensor:
    """Sample a standard normal that is restricted to |z| < threshold, by inverting its distribution function.

    With u uniform on [0, 1), z = Phi^-1(Phi(-t) + u (Phi(t) - Phi(-t))). Unlike drawing again whatever is too large
    (Brock et al. 2019, section 3.1) and unlike ``torch.nn.init.trunc_normal_``, this needs no loop and no look at the
    values, and the same u at another threshold gives a similar z. It is computed in float64, for the tails.

    Args:
        shape: of the result.
        threshold: t, above 0.
        device: where it is computed.
        generator: random state, on that device.

    Returns:
        float32 values in [-t, t].
    """
    uniform = torch.rand(shape, dtype=torch.float64, device=device, generator=generator)
    tail = math.erfc(threshold / math.sqrt(2)) / 2  # Phi(-t)
    # The clamp matters for a t beyond float64's tail, where the smallest u gives -inf.
    z = torch.special.ndtri(tail + uniform * (1 - 2 * tail)).clamp(-threshold, threshold)
    return z.float()
