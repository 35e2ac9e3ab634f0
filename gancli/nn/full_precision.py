"""Computing in float32 where a run allows less."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute without autocast and without TF32, in convolutions and in products of matrices.

    Two ways to the same numbers, as by a whole network and by one that is evaluated pixel by pixel, would differ in
    them.

    Args:
        device: where it is computed.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = matmul.allow_tf32
    # What is not named has the default of flags(), under which cuDNN is off; that of benchmark chooses no algorithm by
    # its time, so that another process computes the same numbers.
    exact = cudnn.flags(enabled=True, deterministic=cudnn.deterministic, allow_tf32=False)
    with torch.autocast(device.type, enabled=False), exact:
        matmul.allow_tf32 = False
        try:
            yield
        finally:
            matmul.allow_tf32 = before
