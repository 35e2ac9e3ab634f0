"""How far images are from a target, by pixels at three scales and by the features of a model's own discriminator.

Papers compare features of VGG (LPIPS: Zhang et al. 2018, The Unreasonable Effectiveness of Deep Features as a
Perceptual Metric). A GAN brings along a network that has learned what its images differ in, which suits digits, too,
and needs no download.

- Pixels: the mean squared difference at each of three levels of a pyramid of 2x2 means, averaged over the levels.
- Features: the outputs of the discriminator's convolutions and dense layers except for the logit. Each channel is
  divided by its standard deviation over 64 images that the model draws with a fixed seed, and the mean squared
  differences of the layers are averaged. Layers behind a minibatch deviation, which mix images, are left out.

The distance is the sum of both. Distances of different models are not comparable.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from gancli.models.base import Adversarial
from gancli.nn.minibatch_std import MinibatchStd

NAME = "pyramid of 3 levels + features of the model's own discriminator"
LEVELS = 3
DRAWN, SEED = 64, 0  # images whose features' deviations are the channels' units


class Likeness:
    """The distance of images from a target under one model.

    Args:
        model: an adversarial model of images, in eval mode. It is not changed, and needs no gradients of its weights.
    """

    def __init__(self, model: Adversarial) -> None:
        self.model = model
        self.layers = [each for each in model.discriminator.modules() if _is_layer(each)]
        self.units: list[Tensor] = []
        with torch.no_grad():
            generator = torch.Generator(model.device).manual_seed(SEED)
            label = model.labels(DRAWN, generator)
            image = model.sample(DRAWN, label=label, generator=generator)
            for each in self._features(image, label):
                variance = each.transpose(0, 1).flatten(1).var(1, correction=0)
                # A channel that hardly varies counts for little, instead of its rounding errors for much.
                unit = (variance + 0.01 * variance.mean() + 1e-12).sqrt()
                self.units.append(unit.view(-1, *[1] * (each.dim() - 2)))

    def look(self, image: Tensor, label: Tensor | None = None) -> tuple[list[Tensor], list[Tensor]]:
        """Return the levels of images (N, C, H, W) in [-1, 1], with labels (N,) or None, and their scaled features."""
        return pyramid(image), [each / unit for each, unit in zip(self._features(image, label), self.units)]

    def distance(
        self, image: Tensor, seen: tuple[list[Tensor], list[Tensor]], label: Tensor | None = None
    ) -> Tensor:  # fmt: skip
        """Return the distances, (N,), of images (N, C, H, W) from targets of which ``seen`` is the look()."""
        found = torch.zeros(len(image), device=image.device)
        for mine, theirs in zip(self.look(image, label), seen):
            for one, other in zip(mine, theirs):
                found = found + (one - other).square().flatten(1).mean(1) / len(theirs)
        return found

    def _features(self, image: Tensor, label: Tensor | None) -> list[Tensor]:
        with _recording(self.model.discriminator, self.layers, len(image)) as found:
            self.model.score(image, label)
        return found


def pyramid(image: Tensor) -> list[Tensor]:
    """Return an image and LEVELS - 1 halvings of it by 2x2 means; the last row or column of an odd side stays."""
    found = [image]
    for _ in range(LEVELS - 1):
        found.append(avg_pool2d(found[-1], 2, ceil_mode=True))
    return found


def _is_layer(module: nn.Module) -> bool:
    """Tell a convolution or a dense layer, of whatever class, by its weight."""
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.dim() in (2, 4) and not isinstance(module, nn.Embedding)


@contextmanager
def _recording(network: nn.Module, layers: list[nn.Module], n: int) -> Iterator[list[Tensor]]:
    """Collect the layers' outputs for n images, up to the first layer that mixes images; logits are left out."""
    found: list[Tensor] = []
    mixed = False

    def record(module: nn.Module, inputs: object, output: object) -> None:
        if not mixed and isinstance(output, Tensor) and len(output) == n and output[0].numel() > 1:
            found.append(output)

    def stop(module: nn.Module, inputs: object, output: object) -> None:
        nonlocal mixed
        mixed = True

    mixers = [each for each in network.modules() if isinstance(each, MinibatchStd)]
    handles = [each.register_forward_hook(record) for each in layers]
    handles += [each.register_forward_hook(stop) for each in mixers]
    try:
        yield found
    finally:
        for each in handles:
            each.remove()
