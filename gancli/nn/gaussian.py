"""Diagonal normal distributions relative to the standard normal, in nats (Kingma & Welling 2014, appendix B)."""

from torch import Tensor


def kl(mean: Tensor, log_var: Tensor) -> Tensor:
    """Return KL(N(mean, exp(log_var)) || N(0, 1)) of every latent, shaped like the arguments: 0 or more."""
    return (mean.square() + log_var.exp() - 1 - log_var) / 2


def log_ratio(z: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """Return log N(z; mean, exp(log_var)) - log N(z; 0, 1) of every latent; shapes are broadcast."""
    return (z.square() - (z - mean).square() * (-log_var).exp() - log_var) / 2
