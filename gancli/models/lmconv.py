"""LMConv: Jain, Abbeel & Pathak 2020, Locally Masked Convolution for Autoregressive Models, arXiv:2006.12486.

The network is PixelCNN++'s without the second stream and the strides (section 4.1): gated residual blocks with
concat-ELU on the way up and, with skip connections, on the way down; dilated convolutions between the stages;
normalisation over the channels of each pixel. The masks of the convolutions differ from place to place and follow an
order of the pixels. Training draws an order for each batch; the likelihood of an image is the mean of its probabilities
under all orders. Orders that put a region last complete it exactly. Checked against the authors' code
(ajayjain/lmconv): the normalised quantities, the numbers of blocks, the channel of ones. Deviation: no dropout.

    gancli train model=lmconv data=mnist
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, fx, nn
from torch.nn.functional import elu

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError, did_you_mean
from gancli.models.autoregressive import Autoregressive
from gancli.models.pixel_sampling import Given
from gancli.nn.labels import Condition
from gancli.nn.levels import LevelEmbedding
from gancli.nn.likelihoods import Likelihood
from gancli.nn.locally_masked import LocallyMaskedConv2d, follow
from gancli.nn.masked import MaskedConv2d
from gancli.nn.orders import CURVES, last, ranks, symmetries
from gancli.nn.pixelwise import concat_elu, gated, normalise
from gancli.ranges import Depth, Extra, Positive, Units

for _name in ("concat_elu", "gated", "normalise"):
    fx.wrap(_name)


class LMConv(Autoregressive):
    """Locally masked convolutions under several orders, any size.

    Args:
        spec: shape and levels of the images.
        likelihood: called with ``levels=`` to build the likelihood; for colour images it must order the colours itself.
        curve: raster | s_curve | hilbert, the first order.
        orders: how many of the curve's eight flips and transpositions to use; the model is their mixture.
        width: channels.
        blocks: residual blocks in a stage.
        stages: stages on the way up, and as many on the way down.
        sampler: see Autoregressive.

    Raises:
        UsageError: the curve is unknown, there are too many orders, or the likelihood does not order the colours.
    """

    ranks: Tensor  # (orders, H * W) int64, each pixel's position in each order

    def __init__(
        self,
        spec: ImageSpec,
        likelihood: Callable[..., Likelihood],
        curve: str = "s_curve",
        orders: Positive = 8,
        width: Units = 160,
        blocks: Extra = 5,
        stages: Depth = 3,
        sampler: str = "cache",
    ) -> None:
        super().__init__(spec, likelihood, sampler)
        if curve not in CURVES:
            raise UsageError(f"model.curve={curve}: allowed are {', '.join(CURVES)}{did_you_mean(curve, CURVES)}")
        if not 1 <= orders <= 8:
            raise UsageError(f"model.orders={orders}: must be 1 to 8, as a curve has 8 flips and transpositions")
        if self.likelihood.groups(spec.channels) > 1:
            raise UsageError(
                f"model=lmconv orders pixels, but not the {spec.channels} colours of a pixel: "
                "add likelihood@model.likelihood=logistic_mixture data.binarise=null"
            )
        self.orders = symmetries(CURVES[curve], spec.height, spec.width)[:orders]  # (orders, H * W), on the CPU
        self.register_buffer("ranks", ranks(self.orders), persistent=False)
        read, channels = self.reader()
        self.net = Network(channels, width, blocks, stages, self.likelihood.channels(spec.channels), read)
        self.current = self.orders[0]  # the order that sampling follows, (H * W,)

    def order(self) -> Tensor:
        return self.current

    def forward(self, image: Tensor, label: Condition | None = None) -> Tensor:
        """Map images to parameters under the order of sampling: the first one, unless ``following`` sets another."""
        return self.params(image, ranks(self.current))

    def params(self, image: Tensor, rank: Tensor) -> Tensor:
        """Map images to parameters under one order, given as each pixel's rank, (H * W,)."""
        self.follow(rank)
        return self.net(image)

    def follow(self, rank: Tensor) -> None:
        """Set every layer's masks to the order with these ranks, (H * W,)."""
        follow(self.net, rank.to(self.device), self.spec.height, self.spec.width)

    def log_prob(self, image: Tensor, label: Condition | None = None) -> Tensor:
        """Return the log of the mean probability over all orders (section 4.2)."""
        image = self.likelihood.snap(image)
        each = []
        for rank in ranks(self.orders):  # on the CPU, where it may be read
            follow(self.net, rank, self.spec.height, self.spec.width, read=True)
            each.append(-self.likelihood.nll(self.net(image), image))
        return torch.stack(each).logsumexp(0) - math.log(len(each))

    def training_nats(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Return the nats under an order drawn for the batch (section 4.2); their mean is at least the mixture's."""
        image = self.likelihood.snap(image)
        drawn = torch.randint(len(self.ranks), (1,), device=self.device)  # on the device, so no step waits
        return self.likelihood.nll(self.params(image, self.ranks.index_select(0, drawn)[0]), image)

    @contextmanager
    def following(self, order: Tensor) -> Iterator[None]:
        """Sample in this order, (H * W,) on the CPU."""
        before, self.current = self.current, order
        try:
            self.follow(ranks(order))  # for samplers that ask the layers which pixels they read
            yield
        finally:
            self.current = before

    def from_noise(
        self, noise: Tensor, label: Condition | None = None, sampler: str | None = None, given: Given | None = None
    ) -> Tensor:
        """Map noise to images; each image's order is drawn with the first number of its noise, which is then reused.

        Every order puts ``given`` pixels first, so that all others see them, and is drawn in proportion to the
        probability it gives them. The images thus follow the mixture's conditional distribution exactly.
        """
        noise = noise.to(next(self.parameters()).dtype)
        orders, weights = self.orders, noise.new_full((len(noise), len(self.orders)), 1 / len(self.orders))
        if given is not None:
            missing = ~given.mask.cpu().flatten()
            orders = torch.stack([last(order, missing) for order in orders])
            weights = self._by_order(given.image, orders, given.mask).softmax(0).T.to(noise.dtype)
        chosen, noise = _choose(weights, noise)
        images = noise.new_empty(len(noise), *self.spec.shape)
        for i in chosen.unique().tolist():
            mine = (chosen == i).nonzero()[:, 0]
            part = None if given is None else Given(given.image[mine], given.mask)
            with self.following(orders[i]):
                images[mine] = super().from_noise(noise[mine], None, sampler, part)
        return images

    def log_prob_of(self, image: Tensor, mask: Tensor, label: Tensor | None = None) -> Tensor:
        image, missing = self.likelihood.snap(image), mask.cpu().flatten()
        orders = torch.stack([last(order, missing) for order in self.orders])
        whole, seen = (self._by_order(image, orders, pixels) for pixels in (torch.ones_like(mask), ~mask))
        return whole.logsumexp(0) - seen.logsumexp(0)

    def unseen(self, mask: Tensor) -> Tensor:
        return torch.zeros_like(mask)

    @torch.no_grad()
    def _by_order(self, image: Tensor, orders: Tensor, pixels: Tensor) -> Tensor:
        """Return the log-probability of some pixels, (H, W) bool, under orders that put them first. (orders, N)."""
        found = (self.params(image, ranks(order))[:, :, pixels] for order in orders)
        return torch.stack([-self.likelihood.nll(params, image[:, :, pixels]) for params in found])


def _choose(weights: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Sample from weights (N, K) that sum to 1; return choices (N,), and the noise with its first number refreshed."""
    upper = weights.cumsum(1)
    first = noise[:, 0, 0, 0, None]
    chosen = (upper[:, :-1] <= first).sum(1, keepdim=True)
    weight, left = weights.gather(1, chosen), upper.gather(1, chosen)
    noise = noise.clone()
    # Given the choice, the number is uniform on that choice's part of [0, 1); it is stretched to [0, 1) and reused.
    rest = (first - (left - weight)) / weight
    noise[:, 0, 0, 0] = rest[:, 0].clamp(0, 1 - torch.finfo(noise.dtype).eps)
    return chosen[:, 0], noise


class Network(nn.Module):
    """Gated residual blocks up and down that map images to parameters.

    Args:
        channels: channels of the image.
        width: channels of the blocks.
        blocks: blocks per stage; all stages down but the first have one more, so that they use all skips.
        stages: number of stages up, and of stages down.
        outputs: parameters per pixel.
        read: embeds images with nominal levels.
    """

    def __init__(
        self, channels: int, width: int, blocks: int, stages: int, outputs: int, read: LevelEmbedding | None = None
    ) -> None:
        super().__init__()
        self.read = read
        # A channel of ones distinguishes pixels of value zero from masked pixels and padding.
        self.first = LocallyMaskedConv2d(channels + 1, width, image=True)
        self.up = nn.ModuleList(nn.ModuleList(Block(width) for _ in range(blocks)) for _ in range(stages))
        self.down = nn.ModuleList(
            nn.ModuleList(Block(width, skip=True) for _ in range(blocks + (i > 0))) for i in range(stages)
        )
        self.between = nn.ModuleList(
            LocallyMaskedConv2d(width, width, dilation=2) for _ in range(2 * (stages - 1))
        )  # first on the way up, then on the way down
        self.last = MaskedConv2d(width, outputs)

    def forward(self, image: Tensor, label: Condition | None = None) -> Tensor:
        """(N, C, H, W) in [-1, 1] -> (N, outputs, H, W)."""
        if self.read is not None:
            image = self.read(image)
        x = normalise(self.first(torch.cat([image, torch.ones_like(image[:, :1])], 1)))
        skips, stages = [], len(self.up)  # inputs of the blocks on both ways
        for i, stage in enumerate(self.up):
            assert isinstance(stage, nn.ModuleList)
            for block in stage:
                skips.append(concat_elu(x))
                x = block(x, skips[-1])
            if i < stages - 1:
                skips.append(concat_elu(x))
                x = normalise(self.between[i](x))
        for i, stage in enumerate(self.down):
            assert isinstance(stage, nn.ModuleList)
            for block in stage:
                x = block(x, concat_elu(x), skips.pop())
            if i < stages - 1:
                x = normalise(self.between[stages - 1 + i](x))
        return self.last(elu(x))


class Block(nn.Module):
    """A gated residual block: 3x3, 3x3 to twice the channels, sigmoid gate; ``skip`` is added midway through a 1x1.

    The result is added to ``x``; ``active`` and ``skip`` have been through concat_elu.
    """

    def __init__(self, width: int, skip: bool = False) -> None:
        super().__init__()
        self.first = LocallyMaskedConv2d(2 * width, width)
        self.second = LocallyMaskedConv2d(2 * width, 2 * width)
        self.skip = MaskedConv2d(2 * width, width) if skip else None

    def forward(self, x: Tensor, active: Tensor, skip: Tensor | None = None) -> Tensor:
        inner = normalise(self.first(active))
        if skip is not None:
            assert self.skip is not None
            inner = inner + self.skip(skip)
        return gated(x, self.second(concat_elu(inner)))
