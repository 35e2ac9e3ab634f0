"""Dropout (Srivastava et al. 2014, Dropout), with masks that are cheap on a CPU."""

import torch
from torch import Tensor, nn

LEVELS = 2**16  # of the random numbers that are compared with the probability


class Dropout(nn.Dropout):
    """As torch's, which on a CPU draws each mask with a Bernoulli generator, four to eight times as slow.

    On a GPU torch's own kernel is used.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0 or x.device.type != "cpu":
            return super().forward(x)
        return x * mask(x, self.p)


def mask(like: Tensor, p: float) -> Tensor:
    """Return a mask of the shape and type of ``like``: 0 with probability p, else what keeps the mean.

    The probability is rounded to a multiple of 1 / 65,536, so that one draw of 64 bits decides on four values, and the
    kept ones are scaled by the inverse of the rounded probability. The comparison is done in the type of the numbers:
    one that makes booleans is not vectorised.

    Args:
        like: on the CPU.
        p: at least 0 and below 1.
    """
    dropped, n = min(round(p * LEVELS), LEVELS - 1), like.numel()
    words = torch.randint(-(2**63), 2**63 - 1, (-(-n // 4),))  # torch.compile knows no Tensor.random_()
    kept = words.view(torch.int16)[:n].view(like.shape).ge_(dropped - LEVELS // 2)
    return kept.to(like.dtype).mul_(LEVELS / (LEVELS - dropped))
