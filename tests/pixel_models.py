"""Small networks of pixels in order: what a pixel sees, all images there are, and whether counts are plausible."""

import itertools
import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from gancli.data.spec import ImageSpec
from gancli.models.autoregressive import Autoregressive
from gancli.nn.likelihoods import Bernoulli, Categorical, DiscretizedLogisticMixture

LIKELIHOODS = {
    "binary": (ImageSpec(1, 7, 6, levels=2), Bernoulli),
    "rgb softmax": (ImageSpec(3, 5, 6, levels=4), Categorical),
    "rgb mixture": (ImageSpec(3, 5, 6), partial(DiscretizedLogisticMixture, components=2)),
}


def make(network: Callable[..., Autoregressive], spec: ImageSpec, likelihood, seed: int = 0, **kwargs):
    """A small float64 network with random weights and biases, smooth, so that no dead unit hides a leak."""
    torch.manual_seed(seed)
    model = network(spec, likelihood, **kwargs).double().eval()
    for parameter in model.parameters():
        fan = parameter[0].numel() if parameter.dim() > 1 else 1
        nn.init.normal_(parameter, std=1 / max(fan, 2) ** 0.5)
    smooth(model)
    return model


def smooth(module: nn.Module) -> None:
    """Put ELU for ReLU, whose dead units could hide a leak."""
    for name, child in module.named_children():
        if isinstance(child, nn.ReLU):
            setattr(module, name, nn.ELU())
        else:
            smooth(child)


def sees(model: Autoregressive, row: int, column: int, group: int = 0) -> Tensor:
    """Return which inputs the parameters of one pixel's colour depend on, (C, H, W) of bools, by the Jacobian."""
    smooth(model)
    image = torch.rand(1, *model.spec.shape, dtype=torch.float64) * 2 - 1
    groups = model.likelihood.groups(model.spec.channels)
    jacobian = torch.autograd.functional.jacobian(
        lambda x: model(x)[0, :, row, column].unflatten(0, (groups, -1))[group], image
    )
    return jacobian[:, 0].abs().amax(0) > 0


def documented(spec: ImageSpec, row: int, column: int, kernel: int, blocks: int) -> Tensor:
    """The receptive field by a walk over taps: the first layer's past, then blocks of 3x3 with the pixel itself."""
    half = kernel // 2
    steps = [(0, 0), (0, -1), (-1, -1), (-1, 0), (-1, 1)]
    first = [(dy, dx) for dy in range(-half, 1) for dx in range(-half, half + 1) if dy < 0 or dx < 0]
    places = {(row, column)}
    for taps in [steps] * blocks + [first]:
        places = {(r + dy, c + dx) for r, c in places for dy, dx in taps if r + dy >= 0 and 0 <= c + dx < spec.width}
    field = torch.zeros(spec.height, spec.width, dtype=torch.bool)
    for place in places:
        field[place] = True
    return field


def all_images(spec: ImageSpec) -> Tensor:
    """All levels^(C H W) images, (N, C, H, W), in float64."""
    grid = itertools.product(range(spec.levels), repeat=spec.channels * spec.height * spec.width)
    levels = torch.tensor(list(grid), dtype=torch.float64).view(-1, *spec.shape)
    return levels / ((spec.levels - 1) / 2) - 1


def chi_square_is_plausible(counts: Tensor, expected: Tensor) -> bool:
    """Pool cells of few expected counts; accept within 5 standard deviations of the statistic."""
    small = expected < 10
    counts, expected = (torch.cat([t[~small], t[small].sum()[None]]) for t in (counts, expected))
    kept = expected > 0
    statistic = ((counts - expected).square() / expected)[kept].sum().item()
    freedom = int(kept.sum()) - 1
    return statistic < freedom + 5 * math.sqrt(2 * freedom) + 5
