"""PixelCNN++: Salimans, Karpathy, Chen & Kingma 2017, arXiv:1701.05517, and the authors' code, openai/pixel-cnn.

A U-Net of shifted convolutions in two streams: u sees the rows above; ul sees those and the pixels to the left. Gated
residual blocks with concat-ELU and dropout at resolutions 1, 1/2, 1/4 and back, with a skip connection from every layer
to its mirror image. A constant channel distinguishes padding from black. Weights are normalised, w = g v / |v|; g and
the bias are set on the first images so that every layer starts with unit variance (Salimans & Kingma 2016). As in the
code, blocks after the first stage of the way up have one more layer, and the class adds a bias in each block.
Deviations: any number of resolutions; sampling rounds each channel before the next one is conditioned on it.

    gancli train model=pixelcnn_pp data=cifar10
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.functional import elu, glu

from gancli.data.spec import ImageSpec, scaled
from gancli.errors import UsageError
from gancli.models.autoregressive import Autoregressive
from gancli.nn.dropout import Dropout
from gancli.nn.labels import Condition
from gancli.nn.levels import LevelEmbedding
from gancli.nn.likelihoods import Likelihood
from gancli.nn.pixelwise import biased, concat_elu
from gancli.nn.window import WindowConv2d, WindowTransposed2d
from gancli.ranges import Depth, Drop, Units

for _name in ("biased", "concat_elu"):
    fx.wrap(_name)

INIT_IMAGES = 16  # for the data-dependent initialisation, as in the authors' code


class PixelCNNpp(Autoregressive):
    """Two streams down and up again, for images whose sides are divisible by 2^(scales - 1).

    Args:
        spec: shape, levels and classes of the images.
        likelihood: called with ``levels=`` to build the likelihood; it must order the colours itself.
        width: channels.
        resnets: residual blocks per resolution on each way.
        scales: number of resolutions.
        drop: fraction of the hidden values that dropout zeroes in training.
        conditional: whether to condition on the class.
        sampler: naive | cache | wavefront | jacobi; all draw the same images.

    Raises:
        UsageError: the sides are not divisible, the likelihood does not order the colours, or the data has no classes.
    """

    bf16_pays = True

    def __init__(
        self,
        spec: ImageSpec,
        likelihood: Callable[..., Likelihood],
        width: Units = 32,
        resnets: Depth = 2,
        scales: Depth = 3,
        drop: Drop = 0.5,
        conditional: bool = False,
        sampler: str = "wavefront",
    ) -> None:
        self.conditional = conditional
        super().__init__(spec, likelihood, sampler)
        if self.likelihood.groups(spec.channels) > 1:
            raise UsageError(
                f"likelihood {type(self.likelihood).__name__} does not order the colours, and neither does "
                "pixelcnn_pp: use likelihood@model.likelihood=logistic_mixture, or data.channels=1"
            )
        unit = 2 ** (scales - 1)
        if spec.height % unit or spec.width % unit:
            raise UsageError(
                f"model.scales={scales}: the sides of {spec.size} images are not divisible by {unit}; "
                "use fewer scales, or resize with data.size=32"
            )
        classes = spec.num_classes if conditional else 0
        outputs = self.likelihood.channels(spec.channels)
        read, channels = self.reader()
        self.net = UNet(channels, width, resnets, scales, drop, outputs, classes, read)

    def forward(self, image: Tensor, label: Condition | None = None) -> Tensor:
        return self.net(image, label) if self.conditional else self.net(image)

    @torch.no_grad()
    def fit_data(self, pixels: Tensor) -> None:
        """Set gains and biases so that every layer's outputs have mean 0 and variance 1 on the first images."""
        image = self.likelihood.snap(scaled(pixels[:INIT_IMAGES].to(self.device)))
        label = torch.arange(len(image), device=self.device) % self.spec.num_classes if self.conditional else None
        training = self.training
        hooks = [m.register_forward_hook(_standardise) for m in self.modules() if isinstance(m, Normed)]
        self.eval()
        self(image, label)
        self.train(training)
        for hook in hooks:
            hook.remove()


class Normed(WindowConv2d):
    """A convolution over a window with normalised weights and a gain per output."""

    def __init__(self, *args: Any, scale: float = 1.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        nn.init.normal_(self.weight, std=0.05)
        assert self.bias is not None
        nn.init.zeros_(self.bias)
        self.scale = scale  # the initial standard deviation of the outputs
        self.gain = nn.Parameter(torch.full((len(self.weight),), scale))

    def kernel(self) -> Tensor:
        return self.weight * (self.gain / self.weight.flatten(1).norm(dim=1))[:, None, None, None]


class NormedTransposed(WindowTransposed2d, Normed):
    """A transposed convolution with normalised weights and a gain per output."""


def _standardise(layer: Normed, inputs: object, output: Tensor) -> Tensor:
    """Set the layer's gain and bias so that they standardise this output; return the standardised output."""
    mean, std = output.mean((0, 2, 3)), (output.var((0, 2, 3), correction=0) + 1e-10).sqrt()
    factor = layer.scale / std
    layer.gain.mul_(factor)
    assert layer.bias is not None
    layer.bias.sub_(mean).mul_(factor)
    return (output - mean[:, None, None]) * factor[:, None, None]


class UNet(nn.Module):
    """Both streams: maps images (N, C, H, W) to parameters (N, outputs, H, W)."""

    def __init__(
        self, c: int, width: int, resnets: int, scales: int, drop: float, outputs: int, classes: int,
        read: LevelEmbedding | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.read = read
        c += 1  # the constant channel
        self.above = Normed(c, width, (2, 3), 2, 1)  # u: rows above
        self.above_left = Normed(c, width, (1, 3), 1, 1)  # ul: the row above,
        self.left = Normed(c, width, (2, 1), 1, 1)  # and the column to the left
        self.down, self.shrink, self.up, self.grow = (nn.ModuleList() for _ in range(4))
        for scale in range(scales):
            last = scale == scales - 1
            self.down.append(nn.ModuleList(Pair(width, 0, drop, classes) for _ in range(resnets)))
            self.up.append(nn.ModuleList(Pair(width, 1, drop, classes) for _ in range(resnets + (scale > 0))))
            if not last:
                self.shrink.append(
                    nn.ModuleList(
                        [
                            Normed(width, width, (2, 3), 1, 1, stride=2),
                            Normed(width, width, (2, 2), 1, 1, stride=2),
                        ]
                    )
                )
                self.grow.append(
                    nn.ModuleList(
                        [NormedTransposed(width, width, (2, 3), left=1), NormedTransposed(width, width, (2, 2))]
                    )
                )
        self.out = Normed(width, outputs)

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        if self.read is not None:
            image = self.read(image)
        x = torch.cat([image, torch.ones_like(image[:, :1])], 1)
        u, ul = self.above(x), self.above_left(x) + self.left(x)
        passed = [(u, ul)]
        for scale, pairs in enumerate(self.down):
            assert isinstance(pairs, nn.ModuleList)
            for pair in pairs:
                u, ul = pair(u, ul, None, label)
                passed.append((u, ul))
            if scale < len(self.shrink):
                u, ul = _resized(self.shrink[scale], u, ul)
                passed.append((u, ul))
        u, ul = passed.pop()
        for scale, pairs in enumerate(self.up):
            assert isinstance(pairs, nn.ModuleList)
            for pair in pairs:
                u, ul = pair(u, ul, passed.pop(), label)
            if scale < len(self.grow):
                u, ul = _resized(self.grow[scale], u, ul)
        return self.out(elu(ul))


def _resized(convolutions: nn.Module, u: Tensor, ul: Tensor) -> tuple[Tensor, Tensor]:
    """Apply one convolution to each stream."""
    assert isinstance(convolutions, nn.ModuleList)
    return convolutions[0](u), convolutions[1](ul)


class Pair(nn.Module):
    """One residual block in each stream; ul also reads u, and on the way up both read their mirror image."""

    def __init__(self, width: int, mirrored: int, drop: float, classes: int) -> None:
        super().__init__()
        self.u = Resnet(width, (2, 3), mirrored * width, drop, classes)
        self.ul = Resnet(width, (2, 2), (1 + mirrored) * width, drop, classes)

    def forward(
        self, u: Tensor, ul: Tensor, mirror: tuple[Tensor, Tensor] | None, label: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        u = self.u(u, None if mirror is None else mirror[0], label)
        return u, self.ul(ul, u if mirror is None else torch.cat([u, mirror[1]], 1), label)


class Resnet(nn.Module):
    """A gated residual block; ``side`` channels of another input enter through a 1x1."""

    def __init__(self, width: int, kernel: tuple[int, int], side: int, drop: float, classes: int) -> None:
        super().__init__()
        self.first = Normed(2 * width, width, kernel, 1, 1)
        self.side = Normed(2 * side, width) if side else None
        self.drop = Dropout(drop)
        self.second = Normed(2 * width, 2 * width, kernel, 1, 1, scale=0.1)
        self.bias = nn.Embedding(classes, 2 * width) if classes else None
        if self.bias is not None:
            nn.init.normal_(self.bias.weight, std=0.05)

    def forward(self, x: Tensor, side: Tensor | None, label: Tensor | None) -> Tensor:
        y = self.first(concat_elu(x))
        if self.side is not None:
            assert side is not None
            y = y + self.side(concat_elu(side))
        y = self.second(self.drop(concat_elu(y)))
        if self.bias is not None:
            y = biased(y, self.bias(label)[:, :, None, None])
        return x + glu(y, 1)
