"""The distribution of pixels for decoders of colours: logistics whose scale is that of a whole image."""

import math

import torch
from torch import Tensor

from gancli.nn.likelihoods import DiscretizedLogisticMixture, wide


class DiscretizedLogistic(DiscretizedLogisticMixture):
    """Logistics integrated over each level's bin, independent given their parameters, with one scale per channel.

    The scale of an image's channel is the mean over its pixels' log-scales, much as in Rybkin et al. 2021 (Simple and
    Effective VAE Training with Calibrated Decoders), where all images share it. Where every pixel has its own, what is
    hard to tell is left wide and grey, and is not learned: shapes without their colours.

    Parameters: C means and C log-scales.

    Args:
        levels: number of values that a channel takes.
    """

    local = False

    def __init__(self, levels: int) -> None:
        super().__init__(levels, components=1)

    def channels(self, c: int) -> int:
        return 2 * c

    def start(self, mean: Tensor, std: Tensor) -> Tensor:
        return torch.cat([mean, (std * (math.sqrt(3) / math.pi)).log()])

    def tempered(self, params: Tensor, temperature: float) -> Tensor:
        """Multiply the scales by the temperature."""
        means, log_scales = params.chunk(2, 1)
        return torch.cat([means, log_scales + math.log(temperature)], 1)

    def _split(self, params: Tensor, c: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        means, log_scales = wide(params).unsqueeze(2).split(c, 1)
        shared = log_scales.mean(tuple(range(3, log_scales.dim())), keepdim=True).expand_as(log_scales)
        none = means.new_zeros(len(means), c * (c - 1) // 2, *means.shape[2:])
        return torch.zeros_like(means[:, 0]), means, shared.clamp(*self.LOG_SCALE), none
