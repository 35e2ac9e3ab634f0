"""PixelRNN: van den Oord, Kalchbrenner & Kavukcuoglu 2016, Pixel Recurrent Neural Networks, arXiv:1601.06759.

The paper's Row LSTM (section 3.1) and Diagonal BiLSTM (section 3.2); its PixelCNN is in pixelcnn.py. A 7x7 convolution
with mask A, residual LSTM layers (section 3.3, Figure 5) and the same head. Layers are masked by colour (section 3.4).
The Row LSTM sees a triangle of the past. The Diagonal BiLSTM sees all of it except one pixel: the last of the row
above, if it is beyond the first layer's reach, since mask A hides it from the features at its own position. States
outside the image are learned. Deviations: as in pixelcnn.py.

    gancli train model=row_lstm data=mnist
    gancli train model=diagonal_bilstm data=mnist
"""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.autoregressive import Autoregressive
from gancli.models.pixelcnn import readout
from gancli.nn import lstm
from gancli.nn.labels import Condition
from gancli.nn.levels import LevelEmbedding
from gancli.nn.likelihoods import Likelihood
from gancli.nn.masked import MaskedConv2d
from gancli.nn.stepper import Stepper
from gancli.ranges import Depth, Units


class PixelRNN(Autoregressive):
    """Residual LSTM layers, any size and number of channels.

    Args:
        spec: shape and levels of the images.
        likelihood: called with ``levels=`` to build the likelihood.
        width: channels h of the LSTMs; 2h between them. A multiple of the number of colours that the masks order.
        layers: LSTM layers.
        head: channels of the two 1x1 layers before the logits.
        kernel: width of the first layer, odd.
        sampler: naive | cache | jacobi; all draw the same images. The cache holds the states of the row above.

    Raises:
        UsageError: the channels cannot be divided among the colours, or the kernel is even.
    """

    SAMPLERS = tuple(name for name in Autoregressive.SAMPLERS if name != "wavefront")
    LAYER: ClassVar[Callable[..., lstm.RowLSTM | lstm.DiagonalBiLSTM]]
    net: nn.Sequential

    def __init__(
        self,
        spec: ImageSpec,
        likelihood: Callable[..., Likelihood],
        width: Units = 16,
        layers: Depth = 7,
        head: Units = 32,
        kernel: int = 7,
        sampler: str = "cache",
    ) -> None:
        super().__init__(spec, likelihood, sampler)
        groups, c = self.likelihood.groups(spec.channels), spec.channels
        if width < 1 or width % groups:
            raise UsageError(f"model.width={width}: must be a multiple of {groups}, the number of ordered colours")
        if head < groups:
            raise UsageError(f"model.head={head}: must be {groups} or more, a channel for each colour in order")
        if kernel % 2 == 0:
            raise UsageError(f"model.kernel={kernel}: must be odd, such as model.kernel=7")
        read, channels = self.reader()
        self.net = nn.Sequential(
            *([] if read is None else [read]),
            MaskedConv2d(channels, 2 * width, kernel, groups=groups, image=True),
            *(Residual(self.LAYER(2 * width, width, groups), width, groups) for _ in range(layers)),
            *readout(2 * width, head, self.likelihood.channels(c), groups),
        )

    def stepper(self, sampler: str, image: Tensor, label: Condition | None) -> Stepper:
        if sampler != "cache":
            return super().stepper(sampler, image, label)
        return _Recurrent(self.net, image, self.likelihood.channels(image.shape[1]))


class RowLSTM(PixelRNN):
    __doc__ = PixelRNN.__doc__
    LAYER = lstm.RowLSTM


class DiagonalBiLSTM(PixelRNN):
    __doc__ = PixelRNN.__doc__
    LAYER = lstm.DiagonalBiLSTM


class Residual(nn.Module):
    """An LSTM from 2h to h channels, a 1x1 back to 2h, and a residual connection (Figure 5, right)."""

    def __init__(self, layer: lstm.RowLSTM | lstm.DiagonalBiLSTM, width: int, groups: int) -> None:
        super().__init__()
        self.lstm, self.out = layer, MaskedConv2d(width, 2 * width, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.out(self.lstm(x))


class _Recurrent(Stepper):
    """Evaluates one pixel at a time: the first layer from the image, the LSTMs from their states, the rest pointwise.

    The first step does all the setup of an image, including the weights, so that a captured graph contains it too.
    """

    def __init__(self, net: nn.Sequential, image: Tensor, channels: int) -> None:
        (self.n, _, self.height, self.width), layers = image.shape, list(net)
        self.read = layers.pop(0) if isinstance(layers[0], LevelEmbedding) else None
        first, *self.layers = layers
        assert isinstance(first, MaskedConv2d) and first.bias is not None
        self.conv, self.bias = first, first.bias
        self.pixels = list(torch.arange(self.height * self.width).split(1))
        self.seen = (first.mask.amax((0, 1)) > 0).nonzero().T.to(image.device)  # (2, T), positions in the kernel
        self.taps = first.taps(self.height, self.width)[0].to(image.device)  # (H * W, T); -1: the zeros at the end
        self.taps[self.taps < 0] = len(self.pixels)
        self.values = image.new_zeros(len(self.pixels), self.n, image.shape[1])
        self.known = image.new_zeros(len(self.pixels) + 1, self.n, first.in_channels)  # as the layers read them
        self.found = image.new_zeros(len(self.pixels), self.n, channels)

    def params(self, step: int, colour: int = 0) -> Tensor:
        if step == 0 and colour == 0:
            self._begin()
        row, column = divmod(step, self.width)
        if column == 0 and colour == 0:
            for memory in self.memories:
                memory.row()
        seen = self.known[self.taps[step]].transpose(0, 1).flatten(1)  # (n, T * C)
        x = torch.addmm(self.bias, seen, self.first)
        for memory, (bias, weight) in zip(self.memories, self.outs):
            x = x + torch.addmm(bias, memory.pixel(column, x), weight)
        for each in self.head:
            x = torch.addmm(each[0], x, each[1]) if isinstance(each, tuple) else each(x)
        self.found[step] = x
        return self.found[step]

    def _begin(self) -> None:
        rows, columns = self.seen
        self.first = (self.conv.weight * self.conv.mask)[:, :, rows, columns].permute(2, 1, 0).flatten(0, 1)
        blocks = [layer for layer in self.layers if isinstance(layer, Residual)]
        self.outs = [_pointwise(block.out) for block in blocks]
        self.memories = [block.lstm.memory(self.n, self.width) for block in blocks]
        rest = self.layers[len(blocks) :]
        self.head = [_pointwise(layer) if isinstance(layer, MaskedConv2d) else layer for layer in rest]

    def put(self, step: int, values: Tensor) -> None:
        self.values[step] = values
        self.known[step] = values if self.read is None else self.read(values)

    def images(self) -> Tensor:
        return self.values.permute(1, 2, 0).unflatten(2, (self.height, self.width))

    def recorded(self) -> Tensor:
        return self.found.permute(1, 2, 0).unflatten(2, (self.height, self.width))


def _pointwise(conv: MaskedConv2d) -> tuple[Tensor, Tensor]:
    """Return the bias and the matrix (inputs, outputs) of a 1x1 layer."""
    assert conv.bias is not None
    return conv.bias, (conv.weight * conv.mask)[:, :, 0, 0].T
