"""Two-dimensional LSTMs (van den Oord et al. 2016, arXiv:1601.06759, section 3): over rows, and over diagonals.

Gates are concatenated in the order o, f, i, g (eq. 3), h channels each. The input-to-state part is masked by colour;
the state-to-state part is not, because states belong to completed pixels. States outside the image are learned.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from gancli.nn.masked import MaskedConv2d


class Memory(ABC):
    """The state of a layer during pixel-by-pixel sampling: hidden and cell states of the previous and current row."""

    @abstractmethod
    def row(self) -> None:
        """Start the next row: compute everything that depends on completed rows only."""

    @abstractmethod
    def pixel(self, column: int, x: Tensor) -> Tensor:
        """Return the layer's output at a pixel of the row from its input there, (n, inputs) -> (n, h).

        Columns must be visited in order; a pixel may be repeated when more of its colours are known.
        """


class InputToState(nn.Module):
    """A 1x1 convolution to the four gates, masked by colour: each gate's channels are split into the same groups.

    Args:
        inputs: channels of the layer's input.
        width: channels h of a gate, a multiple of ``groups``.
        groups: colours to order.
    """

    def __init__(self, inputs: int, width: int, groups: int) -> None:
        super().__init__()
        self.conv, self.width = MaskedConv2d(inputs, 4 * width, groups=groups), width

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, 4 h, H, W)."""
        # The convolution's groups are contiguous, so its output interleaves the four gates of each channel.
        return self.conv(x).unflatten(1, (self.width, 4)).transpose(1, 2).flatten(1, 2)

    def matrix(self) -> Tensor:
        """Return the same map as a matrix, (inputs, 4 h), without the bias."""
        weight = (self.conv.weight * self.conv.mask)[:, :, 0, 0].unflatten(0, (self.width, 4))
        return weight.transpose(0, 1).flatten(0, 1).T.detach()

    def bias(self) -> Tensor:
        """Return the bias, (4 h,)."""
        return self.conv.bias.unflatten(0, (self.width, 4)).T.flatten().detach()


def advance(gates: Tensor, cell: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Return hidden and cell state: c = f c' + i g, h = o tanh(c) (eq. 3), gates stacked along ``dim``."""
    width = cell.shape[dim]
    o, f, i = gates.narrow(dim, 0, 3 * width).sigmoid().chunk(3, dim)
    cell = f * cell + i * gates.narrow(dim, 3 * width, width).tanh()
    return o * cell.tanh(), cell


class RowLSTM(nn.Module):
    """An LSTM over rows whose states see k pixels of the row above: a triangular context (section 3.1).

    Args:
        inputs: channels of the input.
        width: channels h of the states.
        groups: colours to order.
        kernel: odd width k of both convolutions; the input's is limited to the pixel and those to its left.
    """

    def __init__(self, inputs: int, width: int, groups: int, kernel: int = 3) -> None:
        super().__init__()
        self.width, self.reach = width, kernel // 2
        self.here = InputToState(inputs, width, groups)
        self.left = nn.Conv2d(inputs, 4 * width, (1, self.reach), bias=False)
        self.above = nn.Conv1d(width, 4 * width, kernel, padding=self.reach, bias=False)
        self.start = nn.Parameter(torch.zeros(2, width))  # hidden and cell state above the image

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, h, H, W)."""
        gates = self.here(x) + self.left(pad(x, (self.reach, -1)))
        hidden, cell = self.start[:, None, :, None].expand(-1, len(x), -1, x.shape[3])
        rows = []
        for each in gates.unbind(2):  # (N, 4 h, W)
            hidden, cell = advance(each + self.above(hidden), cell, 1)
            rows.append(hidden)
        return torch.stack(rows, 2)

    def memory(self, n: int, columns: int) -> Memory:
        return _RowMemory(self, n, columns)


class _RowMemory(Memory):
    """Apply the state-to-state convolution once per row, and the input-to-state one at each pixel."""

    def __init__(self, layer: RowLSTM, n: int, columns: int) -> None:
        self.layer, self.reach = layer, layer.reach
        self.hidden, self.cell = layer.start.detach()[:, None, :, None].repeat(1, n, 1, columns)  # (n, h, W)
        left = layer.left.weight.detach()[:, :, 0]  # (4 h, inputs, reach)
        self.weight = torch.cat([left.permute(2, 1, 0).flatten(0, 1), layer.here.matrix()])  # ((reach + 1) inputs, 4 h)
        self.bias = layer.here.bias()
        self.inputs = self.hidden.new_zeros(self.reach + columns, n, left.shape[1])

    def row(self) -> None:
        self.from_above = self.layer.above(self.hidden) + self.bias[:, None]  # (n, 4 h, W)
        self.cell_above = self.cell.clone()

    def pixel(self, column: int, x: Tensor) -> Tensor:
        self.inputs[self.reach + column] = x
        seen = self.inputs[column : column + self.reach + 1].transpose(0, 1).flatten(1)
        gates = torch.addmm(self.from_above[:, :, column], seen, self.weight)
        hidden, cell = advance(gates, self.cell_above[:, :, column], 1)
        self.hidden[:, :, column], self.cell[:, :, column] = hidden, cell
        return hidden


class DiagonalBiLSTM(nn.Module):
    """A bidirectional LSTM over diagonals: the states see the pixels to the left (or right) and above (section 3.2).

    Both directions are computed together, on the image and on its mirror image. The mirrored map is shifted down by one
    row, so that a pixel does not see those to its right.

    Args:
        inputs: channels of the input.
        width: channels h of the states.
        groups: colours to order.
    """

    def __init__(self, inputs: int, width: int, groups: int) -> None:
        super().__init__()
        self.width = width
        self.here = nn.ModuleList(InputToState(inputs, width, groups) for _ in range(2))  # left to right; mirrored
        self.states = nn.Parameter(torch.empty(2, 2 * width, 4 * width))  # from the hidden states left and above
        nn.init.uniform_(self.states, -((2 * width) ** -0.5), (2 * width) ** -0.5)
        self.start = nn.Parameter(torch.zeros(2, 2, width))  # hidden and cell state outside, of each direction

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, h, H, W)."""
        (n, _, height, columns), width = x.shape, self.width
        # Mirror before skewing: mirroring a skewed map would misplace its padding.
        gates = torch.stack([skew(self.here[0](x)), skew(self.here[1](x.flip(3)))])  # (2, N, 4 h, H, S)
        diagonals = gates.permute(4, 0, 1, 3, 2).reshape(-1, 2, n * height, 4 * width)
        start_hidden, start_cell = self.start[:, :, None, None].expand(-1, -1, n, height, -1)  # (2, N, H, h) each
        hidden, cell, found = start_hidden, start_cell, []
        inside = skew(x.new_ones(1, 1, height, columns, dtype=torch.bool))[0, 0].T[:, :, None]  # (S, H, 1)
        for each, here in zip(diagonals, inside):
            above = torch.cat([start_hidden[:, :, :1], hidden[:, :, :-1]], 2)
            before = torch.cat([hidden, above], 3).flatten(1, 2)
            new = torch.baddbmm(each, before, self.states).view(2, n, height, -1)
            hidden, cell = advance(new, cell, 3)
            hidden, cell = torch.where(here, hidden, start_hidden), torch.where(here, cell, start_cell)
            found.append(hidden)
        left, right = unskew(torch.stack(found, 4).transpose(2, 3).flatten(0, 1), columns).chunk(2)
        return left + pad(right.flip(3), (0, 0, 1, -1))

    def memory(self, n: int, columns: int) -> Memory:
        return _DiagonalMemory(self, n, columns)


class _DiagonalMemory(Memory):
    """Compute left-to-right states pixel by pixel and right-to-left states row by row, once a row is complete."""

    def __init__(self, layer: DiagonalBiLSTM, n: int, columns: int) -> None:
        width, self.columns = layer.width, columns
        here = [each for each in layer.here if isinstance(each, InputToState)]  # all are; for the type checker
        self.inputs_to_gates, self.bias = [i.matrix() for i in here], [i.bias() for i in here]
        self.from_left, self.from_above = layer.states.detach().split(width, 1)  # (2, h, 4 h) each
        self.start = layer.start.detach()[:, :, None].expand(-1, -1, n, -1)  # (hidden and cell, directions, n, h)
        self.hidden, _ = self.start[:, 0, :, None].repeat(1, 1, columns, 1)  # (n, W, h), of the latest row
        self.mirrored, _ = self.start[:, 1, :, None].repeat(1, 1, columns, 1)
        self.later = torch.zeros_like(self.hidden)  # contribution of the right-to-left direction to this row
        self.cells = torch.zeros_like(self.hidden)
        self.inputs: Tensor | None = None  # (n, W, inputs), of the latest row

    def row(self) -> None:
        if self.inputs is not None:
            self.later = self.mirrored = self._mirror(self.inputs)
        self.gates = self.hidden @ self.from_above[0] + self.bias[0]  # (n, W, 4 h)

    def _mirror(self, x: Tensor) -> Tensor:
        """Return the right-to-left hidden states of a completed row. (n, W, inputs) -> (n, W, h)."""
        gates = x @ self.inputs_to_gates[1] + self.mirrored @ self.from_above[1] + self.bias[1]
        hidden, cell = self.start[:, 1]
        found = []
        for column in reversed(range(self.columns)):
            hidden, cell = advance(torch.addmm(gates[:, column], hidden, self.from_left[1]), cell, 1)
            found.append(hidden)
        return torch.stack(found[::-1], 1)

    def pixel(self, column: int, x: Tensor) -> Tensor:
        if self.inputs is None:
            self.inputs = x.new_zeros(len(x), self.columns, x.shape[1])
        self.inputs[:, column] = x
        hidden, cell = (self.hidden[:, column - 1], self.cells[:, column - 1]) if column else self.start[:, 0]
        gates = torch.addmm(self.gates[:, column], x, self.inputs_to_gates[0]).addmm_(hidden, self.from_left[0])
        self.hidden[:, column], self.cells[:, column] = hidden, _ = advance(gates, cell, 1)
        return hidden + self.later[:, column]


def skew(x: Tensor) -> Tensor:
    """Shift row i to the right by i pixels: diagonals become columns. (..., H, W) -> (..., H, W + H - 1)."""
    height, width = x.shape[-2:]
    rows = pad(x, (0, height)).flatten(-2)  # flattened with one more column, each row starts one later
    return rows[..., : height * (width + height - 1)].unflatten(-1, (height, -1))


def unskew(x: Tensor, width: int) -> Tensor:
    """Undo skew. (..., H, W + H - 1) -> (..., H, W)."""
    height = x.shape[-2]
    return pad(x.flatten(-2), (0, height)).unflatten(-1, (height, -1))[..., :width]
