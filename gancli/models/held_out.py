"""What a model tells of held-out images: their negative log-likelihood, and what kind of number that is."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import Tensor

Kind = Literal["exact", "density", "bound"]


class HeldOut(NamedTuple):
    """The negative log-likelihood of images under a model.

    Three kinds of numbers, which are never compared with each other:

    - ``exact``: of a probability of the pixels' levels;
    - ``density``: of a density on [0, 1]^D;
    - ``bound``: an upper bound, in the mean, on one of the two: on the second if ``spread``.

    Args:
        nats: maps images (N, C, H, W) in [-1, 1] and labels (N,) or None to nats (N,).
        kind: one of the three.
        levels: values of a channel that the model knows; images with another number of levels are refused.
        spread: levels over whose shares of [0, 1] ``nats`` spreads the pixels by noise, so that a density bounds their
            probability (Theis et al. 2016, arXiv 1511.01844, section 3.1); 0: pixels stay as they are.
        how: how the number is made, in a phrase for the protocol: ``IWAE, k=5000``.
    """

    nats: Callable[[Tensor, Tensor | None], Tensor]
    kind: Kind
    levels: int
    spread: int = 0
    how: str = ""
