"""Gated PixelCNN: van den Oord et al. 2016, Conditional Image Generation with PixelCNN Decoders, arXiv:1606.05328.

Figure 2: a vertical stack sees the rows above; a horizontal stack sees the pixels to the left and, through a 1x1
convolution, the vertical stack's features of the row above. Together they see the whole past, without PixelCNN's blind
spot. Units are gated, y = tanh(W_f * x) . sigmoid(W_g * x) (eq. 2); a class adds a bias to each half, V_f h and V_g h
(eq. 4), and a map s of the image's size adds one at every pixel, V_f * s and V_g * s with 1x1 convolutions (eq. 5;
section 2.3). The horizontal stack is residual except for its first layer.

    gancli train model=gated_pixelcnn data=mnist
    gancli train model=gated_pixelcnn data=mnist model.conditional=true
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, fx, nn

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.autoregressive import Autoregressive
from gancli.nn.labels import Condition
from gancli.nn.levels import LevelEmbedding
from gancli.nn.likelihoods import Likelihood
from gancli.nn.pixelwise import biased, gated_tanh
from gancli.nn.window import WindowConv2d
from gancli.ranges import Extra, Units

for _name in ("biased", "gated_tanh"):
    fx.wrap(_name)


class GatedPixelCNN(Autoregressive):
    """Gated masked convolutions in two stacks, any size and number of channels.

    Args:
        spec: shape, levels and classes of the images.
        likelihood: called with ``levels=`` to build the likelihood.
        width: channels p of both stacks, at least one for each colour that the masks order.
        blocks: gated layers, including the first.
        head: channels of the 1x1 layer before the logits.
        kernel: width of the first layer, odd.
        inner: width of the other layers, odd.
        conditional: whether to condition on the class.
        context: channels of the map that every image is conditioned on, too; 0: none. Wherever others are given labels,
            such a network is given ``Located`` ones.
        sampler: naive | cache | wavefront | jacobi; all draw the same images.

    Raises:
        UsageError: there are fewer channels than colours, a kernel is even, or the data has no classes.
    """

    bf16_pays = True
    channels_last_pays = True

    def __init__(
        self,
        spec: ImageSpec,
        likelihood: Callable[..., Likelihood],
        width: Units = 24,
        blocks: Extra = 6,
        head: Units = 32,
        kernel: int = 7,
        inner: int = 3,
        conditional: bool = False,
        context: Extra = 0,
        sampler: str = "wavefront",
    ) -> None:
        self.conditional, self.context = conditional, context
        super().__init__(spec, likelihood, sampler)
        groups, c = self.likelihood.groups(spec.channels), spec.channels
        for key, value in (("width", width), ("head", head)):
            if value < groups:
                raise UsageError(f"model.{key}={value}: must be {groups} or more, a channel for each colour in order")
        for key, value in (("kernel", kernel), ("inner", inner)):
            if value % 2 == 0 or value < 3:
                raise UsageError(f"model.{key}={value}: must be odd, such as model.{key}=3")
        given = Given(spec.num_classes if conditional else 0, context)
        read, channels = self.reader()
        outputs = self.likelihood.channels(c)
        self.net = Stacks(channels, width, blocks, head, kernel, inner, outputs, groups, given, read)

    def forward(self, image: Tensor, label: Condition | None = None) -> Tensor:
        return self.net(image, label) if self.conditional or self.context else self.net(image)


class Given(NamedTuple):
    """What a network is conditioned on: a number of classes, and of channels of a map; 0: none."""

    classes: int
    context: int


class Stacks(nn.Module):
    """The network: both stacks, and a head on the horizontal one."""

    def __init__(
        self, c: int, width: int, blocks: int, head: int, kernel: int, inner: int, outputs: int, groups: int,
        given: Given, read: LevelEmbedding | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.read = read
        self.first = Layer(c, width, kernel, groups, given, image=True)
        self.layers = nn.ModuleList(Layer(width, width, inner, groups, given) for _ in range(blocks - 1))
        self.head = nn.Sequential(
            nn.ReLU(),
            WindowConv2d(width, head, groups=groups),
            nn.ReLU(),
            WindowConv2d(head, outputs, groups=groups),
        )

    def forward(self, image: Tensor, label: Condition | None = None) -> Tensor:
        if self.read is not None:
            image = self.read(image)
        v, h = self.first(image, image, label)
        for layer in self.layers:
            v, more = layer(v, h, label)
            h = h + more
        return self.head(h)


class Layer(nn.Module):
    """One layer of Figure 2 in both stacks: 2p channels before the gates, p after them."""

    def __init__(self, inputs: int, width: int, kernel: int, groups: int, given: Given, *, image: bool = False) -> None:
        super().__init__()
        half = kernel // 2
        own = not image or groups > 1  # the image's own pixel shows only its earlier colours, if any
        self.vertical = WindowConv2d(inputs, 2 * width, (half + 1, kernel), half, half)  # shifted one row down
        self.horizontal = WindowConv2d(
            inputs, 2 * width, (1, half + own), 0, half, groups=groups, chunks=2, image=image
        )
        self.link = WindowConv2d(2 * width, 2 * width, (1, 1), 1, 0)  # reads the row above
        self.out = WindowConv2d(width, width, groups=groups)
        self.bias = nn.Embedding(given.classes, 4 * width) if given.classes else None
        self.place = nn.Conv2d(given.context, 4 * width, 1, bias=False) if given.context else None

    def forward(self, v: Tensor, h: Tensor, given: Condition | None) -> tuple[Tensor, Tensor]:
        label: Any = given if self.place is None else given.label  # type: ignore[union-attr]  # then it is Located
        below, across = self.vertical(v), self.horizontal(h)
        if self.bias is not None:
            bias = self.bias(label)[:, :, None, None].chunk(2, 1)
            below, across = biased(below, bias[0]), biased(across, bias[1])
        if self.place is not None:
            bias = self.place(given.context).chunk(2, 1)  # type: ignore[union-attr]
            below, across = biased(below, bias[0]), biased(across, bias[1])
        across = across + self.link(below)
        return gated_tanh(below), self.out(gated_tanh(across))
