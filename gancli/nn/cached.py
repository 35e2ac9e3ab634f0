"""Evaluate a network a few pixels at a time from cached values, following a `Plan`."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gancli.nn import traced
from gancli.nn.incremental import Local, Plan
from gancli.nn.labels import Condition
from gancli.nn.stepper import Stepper

Run = Callable[[int], None]  # one operation at the pixels of a step


class Cached(Stepper):
    """A stepper that evaluates only the pixels of a step and caches all values that later steps need.

    start() reads the weights and applies their masks. All memory is allocated in the constructor, so that the steps can
    be captured as one CUDA graph.

    Args:
        plan: the schedule of the computation.
        network: the network that the plan was made for, in evaluation mode.
        n: number of images.
        channels: channels of the image.
        label: classes, (n,) int64, with or without maps of features, or None; start() can replace them.
    """

    def __init__(self, plan: Plan, network: nn.Module, n: int, channels: int, label: Condition | None = None) -> None:
        self.plan, self.nodes, self.network, self.n = plan, plan.nodes, network, n
        self.like = next(network.parameters()).detach()
        self.values: list[Any] = [None] * len(plan.nodes)  # results of the operations in the current step
        self.width: dict[int, int] = {plan.image: channels}
        self.stored: dict[int, Tensor] = {}
        self.scratch: dict[tuple, Tensor] = {}
        self.copies: dict[tuple, int] = {}
        self.program: list[
            tuple[Run, list[int], bool]
        ] = []  # (operation, pixels of each step, whether it runs for every colour)
        self.layout = plan.layouts[plan.output]
        self.pixels = list(self.layout.pixels.split(self.layout.counts))
        self.fresh: list[Callable[[], object]] = []  # updates that start() runs
        self.constants = traced.constants(network, self.nodes, plan.index, label)
        self.victims: dict[int, int | None] = {}  # the source that an operation overwrites
        for i in range(len(self.nodes)):
            self.victims[i] = self._victim(i)
        self._store(plan.image)
        for i in range(len(self.nodes)):
            if i != plan.image and not self.nodes[i].constant:
                self._compile(i)
        self._image_rows, self._output_rows = self._slices(plan.image), self._slices(plan.output)
        self.steps = self._steps()

    def start(self, label: Condition | None = None) -> None:
        """Read the current weights, and what the next images are conditioned on."""
        self.constants = traced.constants(self.network, self.nodes, self.plan.index, label)
        for update in self.fresh:
            update()

    def params(self, step: int, colour: int = 0) -> Tensor:
        for run in self.steps[step][colour > 0]:
            run(step)
        return self._output_rows[step]

    def put(self, step: int, values: Tensor) -> None:
        self._image_rows[step].copy_(values)

    def images(self) -> Tensor:
        return self._maps(self.plan.image)

    def recorded(self) -> Tensor:
        return self._maps(self.plan.output)

    def nbytes(self) -> int:
        return sum(each.nbytes for group in (self.stored, self.scratch) for each in group.values())

    def _maps(self, i: int) -> Tensor:
        """Return the stored values of a node, (n, channels, H, W)."""
        places = self.plan.layouts[i].place[:-1].to(self.like.device)
        values = self.stored[i].unflatten(0, (-1, self.n))[places]  # (H * W, n, channels)
        return values.permute(1, 2, 0).unflatten(2, self.nodes[i].grid)

    def _steps(self) -> list[tuple[list[Run], list[Run]]]:
        """Return the operations of each step for the first colour, and those repeated for every further colour."""
        known: dict[tuple[bool, ...], tuple[list[Run], list[Run]]] = {}
        found = []
        for step in range(self.plan.steps):
            active = tuple(counts[step] > 0 for _, counts, _ in self.program)
            if active not in known:
                due = [(run, again) for (run, _, again), on in zip(self.program, active) if on]
                known[active] = [run for run, _ in due], [run for run, again in due if again]
            found.append(known[active])
        return found

    # Memory.

    def _store(self, i: int) -> list[Tensor]:
        """Allocate the values of a node, ((pixels + 1) * n, channels), the last n rows zero; return its slices."""
        if i not in self.stored:
            rows = len(self.plan.layouts[i].pixels) * self.n
            self.stored[i] = self.like.new_zeros(rows + self.n, self.width[i])
        return self._slices(i)

    def _slices(self, i: int) -> list[Tensor]:
        """Return the rows of each step of a stored node."""
        return list(self.stored[i][: -self.n].split([c * self.n for c in self.plan.layouts[i].counts]))

    def _needs_store(self, i: int) -> bool:
        """Return whether a node's values are read at another pixel or in another step."""
        layout = self.plan.layouts[i]
        return i == self.plan.output or any(
            self.nodes[u].taps is not None or self.plan.layouts[u] is not layout for u in self.nodes[i].users
        )

    def _sized(self, name: Any, i: int, columns: int, taps: int = 1) -> list[Tensor]:
        """Return a buffer of (taps * rows, columns) for the values of a node in each step, shared by all steps."""
        counts = self.plan.layouts[i].counts
        most = max(counts) * self.n * taps
        key = (name, most, columns)
        if key not in self.scratch:
            self.scratch[key] = self.like.new_zeros(most, columns)
        sizes = {count: self.scratch[key][: count * self.n * taps] for count in set(counts)}
        return [sizes[count] for count in counts]

    def _index(self, i: int, source: int, taps: Tensor | None) -> list[Tensor]:
        """Return the rows of ``source`` that a node reads in each step, (P * n * T,) int32."""
        mine, theirs = self.plan.layouts[i], self.plan.layouts[source]
        key = (self.n, self.like.device, id(mine), id(theirs), id(taps))
        if key not in self.plan.tables:
            if any(other[:2] != key[:2] for other in self.plan.tables):
                self.plan.tables.clear()
            read = mine.pixels[:, None] if taps is None else taps[mine.pixels]  # (P, T)
            rows = theirs.place[read][:, None] * self.n + torch.arange(self.n)[:, None]  # (P, n, T)
            sizes = [count * self.n * read.shape[1] for count in mine.counts]
            self.plan.tables[key] = list(rows.flatten().to(self.like.device, torch.int32).split(sizes))
        return self.plan.tables[key]

    # Operations.

    def _compile(self, i: int) -> None:
        """Add the operation of a node to the program."""
        layer = self.network.get_submodule(traced.target_name(self.nodes[i].trace)) if self.nodes[i].local else None
        run = self._local(i, layer) if isinstance(layer, Local) else self._pixelwise(i)
        self.program.append((run, self.plan.layouts[i].counts, self.nodes[i].now))

    def _local(self, i: int, layer: Local) -> Run:
        """Return the operation of a `Local` layer: the gathered taps, or the pixel's own values, times its matrix."""
        node, values, weight = self.nodes[i], self.values, layer.matrix()[0].detach().clone()
        (source,), home = node.sources, self._home(i)
        columns = self.width[source]
        self.width[i] = self.width[home] = weight.shape[1]
        values[i] = weight.new_zeros(1, weight.shape[1])
        stored = self._needs_store(home)
        filled = stored and not node.now  # values computed once are added to a bias stored in advance
        out = self._store(home) if stored else self._sized(i, i, weight.shape[1])
        start = out if filled else self._sized(("bias", i), i, weight.shape[1])
        biased = self.stored[home][: -self.n] if filled else max(start, key=len)

        def update() -> None:
            matrix, bias = layer.matrix()
            weight.copy_(matrix)
            biased.zero_() if bias is None else biased.copy_(bias)

        self.fresh.append(update)
        direct = node.taps is None and self.plan.layouts[source] is self.plan.layouts[i]
        if direct:

            def own(step: int) -> None:
                values[i] = torch.addmm(start[step], values[source], weight, out=out[step])

            return own
        taps = len(weight) // columns
        memory, index = self.stored[source], self._index(i, source, node.taps)
        seen = self._sized(("taps", taps, columns), i, columns, taps)
        wide = [rows.view(-1, taps * columns) for rows in seen]

        def gathered(step: int) -> None:
            torch.index_select(memory, 0, index[step], out=seen[step])
            values[i] = torch.addmm(start[step], wide[step], weight, out=out[step])

        return gathered

    def _pixelwise(self, i: int) -> Run:
        """Return a pixelwise operation on rows, in place if no other operation reads its argument."""
        trace, values, victim = self.nodes[i].trace, self.values, self.victims[i]
        function, in_place = traced.function(self.network, trace), traced.in_place(self.network, trace)
        slots = {n: self._slot(index, i) for n, index in self.plan.index.items() if n in trace.all_input_nodes}
        if victim is not None:
            assert in_place is not None  # or it would have no victim
            others = [slots[n] for n in trace.all_input_nodes if self.plan.index[n] != victim]
            self.width[i], values[i] = self.width[victim], values[victim]

            def overwrite(step: int) -> None:
                values[i] = in_place(values[victim], *[values[k] for k in others])

            return self._kept(i, overwrite)
        call = traced.caller(function, trace, slots, values)
        values[i] = call()  # on one row, to find its width
        self.width[i] = values[i].shape[1] if isinstance(values[i], Tensor) else 0
        if function in traced.INTO and self._needs_store(i):
            out, (slot,) = self._store(i), slots.values()

            def write(step: int) -> None:
                values[i] = function(values[slot], out=out[step])

            return write

        def run(step: int) -> None:
            values[i] = call()

        return self._kept(i, run)

    def _kept(self, i: int, run: Run) -> Run:
        """Store the result of an operation, unless it is computed in place there."""
        if not self._needs_store(i) or self.nodes[self._base(i)].local:
            return run
        out, values = self._store(i), self.values

        def keep(step: int) -> None:
            run(step)
            values[i] = out[step].copy_(values[i])

        return keep

    def _slot(self, source: int, i: int) -> int:
        """Return the index in ``values`` of a node's source: of the same step, copied from another, or constant."""
        mine, theirs = self.plan.layouts[i], self.plan.layouts[source]
        if source not in self.constants and mine is theirs and source != self.plan.image:
            return source
        key = (source, id(mine))
        if key in self.copies:
            return self.copies[key]
        slot = self.copies[key] = len(self.values)
        values = self.values
        if source in self.constants and _is_map(self.constants[source]):
            columns, pixels = self.constants[source].shape[1], mine.pixels.to(self.like.device)
            placed = self.scratch[("map", slot)] = self.like.new_zeros(len(pixels), self.n, columns)
            parts = placed.flatten(0, 1).split([count * self.n for count in mine.counts])
            values.append(placed[0, :1])
            self.fresh.append(lambda: placed.copy_(self.constants[source].flatten(2).permute(2, 0, 1)[pixels]))

            def run(step: int) -> None:
                values[slot] = parts[step]
        elif source in self.constants:
            value = _as_row(self.constants[source])
            values.append(value)
            if not isinstance(value, Tensor) or value.dim() < 2:
                return slot
            values[slot] = value[:1]
            rows = self._sized(("constant", slot), i, value.shape[1])
            whole = max(rows, key=len)
            self.fresh.append(lambda: whole.view(-1, self.n, value.shape[1]).copy_(_as_row(self.constants[source])))

            def run(step: int) -> None:
                values[slot] = rows[step]
        else:
            memory, index = self.stored[source], self._index(i, source, None)
            values.append(memory[:1])

            def run(step: int) -> None:
                values[slot] = memory.index_select(0, index[step])

        self.program.append((run, mine.counts, self.nodes[source].now))
        return slot

    def _victim(self, i: int) -> int | None:
        """Return the source that an operation may overwrite: new memory that no other operation reads."""
        trace, layouts = self.nodes[i].trace, self.plan.layouts
        inputs = trace.all_input_nodes
        if self.nodes[i].constant or traced.in_place(self.network, trace) is None or list(trace.args) != inputs:
            return None
        for s in reversed(self.nodes[i].sources):
            source = self.nodes[s]
            fresh = source.local or source.trace.target in traced.FRESH or self.victims[s] is not None
            once = source.now or not self.nodes[i].now  # otherwise the next colour would read overwritten values
            if fresh and once and len(source.trace.users) == 1 and layouts[s] is layouts[i]:
                return s
        return None

    def _home(self, i: int) -> int:
        """Return the operation whose memory this one writes to: the last of a chain of in-place operations."""
        users = self.nodes[i].users
        return self._home(users[0]) if len(users) == 1 and self.victims[users[0]] == i else i

    def _base(self, i: int) -> int:
        """Return the first operation of a chain of in-place operations."""
        victim = self.victims[i]
        return i if victim is None else self._base(victim)


def _is_map(value: Any) -> bool:
    """Return whether a constant differs from pixel to pixel: (N, C, H, W)."""
    return isinstance(value, Tensor) and value.dim() == 4 and value.shape[2:] != (1, 1)


def _as_row(value: Any) -> Any:
    """Flatten (N, C, 1, 1) to (N, C); return other values unchanged."""
    return value.flatten(1) if isinstance(value, Tensor) and value.dim() > 1 else value
