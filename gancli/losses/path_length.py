"""Path length regularisation of style-based generators: Karras et al. 2020 (StyleGAN2), section 3.2.

gancli train model=stylegan2 data=mnist 'generator_penalty=[path_length]'
"""

import math

import torch
from torch import Tensor, nn

from gancli.errors import UsageError
from gancli.losses.penalties import Penalty, PenaltyInputs
from gancli.models.base import Model
from gancli.models.style import StyleBased
from gancli.nn import ranks
from gancli.nn.annealed import Annealed, value
from gancli.ranges import Positive, Share


class PathLength(Penalty, nn.Module):
    """A step in W changes the image by the same amount wherever it starts and wherever it leads, eq. 4.

    With the generator's Jacobian J at w and noise y ~ N(0, I) in place of an image, |J^T y|, which is the gradient of
    <G(w), y>, is to be its own long-term mean a. The gradient is that in the styles of all layers, whose squared norms
    are averaged, and y is divided by sqrt(H W), so that a does not grow with the image (the authors' release). The mean
    of this batch is part of a, and so has a gradient, as in the release.

    Args:
        weight: factor of the squared deviation; that of the release.
        decay: share of a batch in the moving average a.
        shrink: the batch is divided by it, which saves memory.
        interval: see Penalty.
    """

    mean: Tensor  # () a, which starts at 0

    def __init__(
        self, weight: float | Annealed = 2.0, decay: Share = 0.01, shrink: Positive = 2, interval: Positive = 4
    ) -> None:
        nn.Module.__init__(self)
        Penalty.__init__(self, interval)
        self.weight, self.decay, self.shrink = weight, decay, shrink
        self.register_buffer("mean", torch.zeros(()))

    def check(self, model: Model) -> None:
        if not isinstance(model, StyleBased):
            raise UsageError(
                f"path_length regularises the way from styles to images, but {type(model).__name__} has no styles; "
                "remove it, or choose model=stylegan2"
            )

    def __call__(self, game: PenaltyInputs) -> Tensor:
        if game.styled is None:
            raise UsageError("path_length regularises a generator: choose it with generator_penalty=path_length")
        length = lengths(*game.styled(max(1, len(game.real) // self.shrink)))
        mean = torch.lerp(self.mean, ranks.mean(length.mean()), self.decay)
        self.mean.copy_(mean.detach())
        return value(self.weight, game.progress) * (length - mean).square().mean()


def lengths(ws: Tensor, image: Tensor) -> Tensor:
    """Return the path length at each image, (n,), for one draw of the noise.

    Args:
        ws: styles, (n, styles, d), from which the images were made.
        image: (n, C, H, W).
    """
    noise = torch.randn_like(image) / math.sqrt(image.shape[2] * image.shape[3])
    (slope,) = torch.autograd.grad((image * noise).sum(), ws, create_graph=True)
    return (slope.square().sum(2).mean(1) + 1e-8).sqrt()  # the root of 0 has no gradient
