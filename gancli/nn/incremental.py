"""Schedule the incremental evaluation of a network: which values are computed in which sampling step.

A network of pixelwise operations and `Local` layers is traced once. A step is a group of pixels that are sampled
together; every value is computed in the step in which it is first read. The schedule is independent of the model:
masks, strides, shifts and pixel orders are all expressed as tables of taps.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor, fx, nn

NEVER = torch.iinfo(torch.int64).max  # the step of values that are never read


class Local(nn.Module, ABC):
    """A layer that applies the same linear map to T pixels of its input, its taps, at every output pixel.

    Missing taps (outside the image, or masked at this pixel) are zero.
    """

    @abstractmethod
    def taps(self, height: int, width: int) -> tuple[Tensor, tuple[int, int]]:
        """Return the input pixels that each output pixel reads, and the output's height and width.

        (H' * W', T) int64 on the CPU, pixels numbered row * width + column, -1 where a tap is missing.
        """

    @abstractmethod
    def matrix(self) -> tuple[Tensor, Tensor | None]:
        """Return the matrix from taps to outputs, (T * inputs, outputs), and the bias, (outputs,) or None."""


def neighbours(height: int, width: int, offsets: Tensor) -> Tensor:
    """Return the taps, (H * W, T), at fixed offsets (rows, columns), (T, 2), from each pixel; -1 outside the image."""
    rows, columns = (torch.arange(n) for n in (height, width))
    r = rows[:, None, None] + offsets[:, 0]  # (H, 1, T)
    c = columns[None, :, None] + offsets[:, 1]  # (1, W, T)
    inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
    return torch.where(inside, r * width + c, -1).flatten(0, 1)


@dataclass
class Node:
    """One operation of a traced network."""

    trace: fx.Node
    sources: list[int]  # the nodes that it reads, except constants
    grid: tuple[int, int]  # height and width of its output
    taps: Tensor | None = None  # (H * W, T), of a layer that reads other pixels than its own
    local: bool = False
    constant: bool = False  # depends only on the labels
    now: bool = False  # depends on earlier colours of the same pixel
    level: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))  # (H * W,) its step, or NEVER
    users: list[int] = field(default_factory=list)

    @property
    def layout(self) -> tuple[tuple[int, int], bytes]:
        """Return a key of the layout, which nodes with equal grids and steps share."""
        return self.grid, self.level.numpy().tobytes()


class Layout:
    """The order of a grid's values in memory: by step, so that each step is a slice, followed by a zero."""

    def __init__(self, level: Tensor, steps: int) -> None:
        order = level.argsort(stable=True)
        self.pixels = order[level[order] != NEVER]
        self.place = torch.full((len(level) + 1,), len(self.pixels))  # place[-1] stands for a missing tap
        self.place[self.pixels] = torch.arange(len(self.pixels))
        self.counts = torch.bincount(level[self.pixels], minlength=steps).tolist()  # pixels of each step


class Plan:
    """The schedule of a network for images of a given size; independent of the weights.

    Args:
        network: a module whose ``forward(image, label)`` consists of `Local` layers and of pixelwise operations with
            channels in dimension 1. Any other operation gives wrong values, as a comparison with ``forward`` shows.
        height, width: size of the image in pixels.
        order: (H * W,) int64, the pixels in the order in which they are sampled.
        labelled: whether the network receives labels.
        together: sample pixels that do not depend on each other in one step, instead of one pixel per step.

    Raises:
        ValueError: a pixel depends on one that is sampled later.
    """

    def __init__(
        self, network: nn.Module, height: int, width: int, order: Tensor, *, labelled: bool, together: bool
    ) -> None:
        trace = _Tracer().trace(network, None if labelled else {"label": None})
        trace.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
        self.nodes = _nodes(trace, network, height, width)
        self.index = {node.trace: i for i, node in enumerate(self.nodes)}
        self.image = next(i for i, node in enumerate(self.nodes) if node.trace.op == "placeholder")
        self.output = self.index[next(n for n in trace.nodes if n.op == "output").args[0]]
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order))
        level = self._wavefront(order.tolist(), rank.tolist()) if together else rank
        self.steps = int(level.max()) + 1
        self._schedule(level)
        for node in self.nodes:  # values computed after their pixel see all of its colours
            node.now = node.now and node.grid == (height, width) and bool((node.level == level).any())
        names = [node.layout for node in self.nodes]
        layouts = {name: Layout(node.level, self.steps) for name, node in zip(names, self.nodes)}
        self.layouts = [layouts[name] for name in names]  # of each node
        self.tables: dict[tuple, list[Tensor]] = {}  # index tables, reused by Cached for batches of the same size

    def _wavefront(self, order: list[int], rank: list[int]) -> Tensor:
        """Return the first step in which each pixel can be sampled, after the pixels it depends on. (H * W,)."""
        reads = [self._reads(i) for i in range(len(self.nodes))]
        known: list[list[int | None]] = [[None] * (n.grid[0] * n.grid[1]) for n in self.nodes]  # last step needed
        changing = [values for node, values in zip(self.nodes, known) if node.now]
        now = 0

        def last(i: int, p: int) -> int:
            latest = -1
            for source, taps in reads[i]:
                for q in (p,) if taps is None else taps[p]:
                    if q < 0 or (source == self.image and q == now):  # its own earlier colours
                        continue
                    if source == self.image and rank[q] > rank[now]:
                        raise ValueError(f"pixel {now} of the image reads pixel {q}, which is sampled later")
                    found = known[source][q]
                    latest = max(latest, last(source, q) if found is None else found)
            known[i][p] = latest
            return latest

        for now in order:
            step = known[self.image][now] = last(self.output, now) + 1
            for values in changing:  # complete only after the pixel's last colour
                if values[now] is not None:
                    values[now] = step
        return torch.tensor(known[self.image])

    def _reads(self, i: int) -> list[tuple[int, list[list[int]] | None]]:
        """Return the sources of a node with their taps, skipping chains of pixelwise operations."""
        found: dict[int, list[list[int]] | None] = {}
        taps = self.nodes[i].taps
        table = None if taps is None else taps.tolist()
        for source in self.nodes[i].sources:
            while source != self.image and self.nodes[source].taps is None and len(self.nodes[source].sources) == 1:
                source = self.nodes[source].sources[0]
            found[source] = table
        return list(found.items())

    def _schedule(self, level: Tensor) -> None:
        """Assign steps to the values of every node, as late as their readers allow; NEVER if they are not read."""
        for node in self.nodes:
            node.level = torch.full((node.grid[0] * node.grid[1],), NEVER)
        self.nodes[self.output].level = level.clone()
        for node in reversed(self.nodes):
            for source in node.sources:
                wanted = self.nodes[source].level
                if node.taps is None:
                    torch.minimum(wanted, node.level, out=wanted)
                else:
                    seen = node.taps >= 0
                    wanted.scatter_reduce_(0, node.taps[seen], node.level[:, None].expand_as(seen)[seen], "amin")
        self.nodes[self.image].level = level


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, name: str) -> bool:
        return isinstance(m, Local) or super().is_leaf_module(m, name)


def _nodes(trace: fx.Graph, network: nn.Module, height: int, width: int) -> list[Node]:
    """Return the operations of a trace, in order, with their sources."""
    nodes: list[Node] = []
    index: dict[fx.Node, int] = {}
    tables: dict[tuple[tuple[int, ...], bytes], Tensor] = {}  # equal taps become one tensor
    for each in trace.nodes:
        if each.op == "output" or (each.op != "placeholder" and not each.users):
            continue
        sources = [index[n] for n in each.all_input_nodes]
        constant = bool(nodes) and all(nodes[s].constant for s in sources)
        sources = [s for s in sources if not nodes[s].constant]
        node = Node(each, sources, nodes[sources[0]].grid if sources else (height, width), constant=constant)
        layer = network.get_submodule(each.target) if each.op == "call_module" else None
        if isinstance(layer, Local) and not constant:
            taps, node.grid = layer.taps(*node.grid)
            node.local = True
            if node.grid != nodes[sources[0]].grid or not torch.equal(taps, torch.arange(len(taps))[:, None]):
                node.taps = tables.setdefault((tuple(taps.shape), taps.numpy().tobytes()), taps)
        own = node.taps is None or bool((node.taps == torch.arange(len(node.taps))[:, None]).any())
        node.now = own and any(s == 0 or nodes[s].now for s in sources)
        for s in set(sources):
            nodes[s].users.append(len(nodes))
        index[each] = len(nodes)
        nodes.append(node)
    return nodes
