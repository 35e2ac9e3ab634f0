"""Endless shuffled batches on the device: from a resident uint8 tensor, or streamed by prefetching threads."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gancli.data.access import AtAccess
from gancli.data.source import Draw, Images
from gancli.data.spec import Batch, dequantised, scaled
from gancli.errors import UsageError
from gancli.ranges import Threads

RESIDENT_BYTES = 2 * 1024**3
_MASK = 2**63 - 1


class Drawn(NamedTuple):
    """The next batch of a Loader, chosen but not yet made."""

    rows: Any  # its positions, or its pixels and labels where they are streamed
    progress: Tensor  # () float32 on the device
    source: "Drawn | None" = None  # of the other of two unpaired domains


class Loader:
    """An infinite, resumable stream of batches, always full, running over the borders of epochs.

    The order is one permutation per epoch, a function of (seed, epoch) alone, so the state is how many images were
    given out, plus the generator of flips and binary draws. Every epoch gives every image exactly once, whatever the
    batch size. The CPU's generator permutes, so that a run can be resumed on another device. Images drawn anew for
    every batch (``images.fresh``) come from the device's generator alone; an epoch is then a count.

    - `images`: the split; of ``probabilities``, binary images are drawn at each access, and of ``spec.dequantised``
      the noise. Of two domains, the source comes along: in pairs, cropped and mirrored alike, or in an order of its
      own. Pictures larger than their spec are cropped at random.
    - `batch_size`: more than the split holds is fine. `device`: where batches live. `seed`: of order and flips.
    - `flip`: mirror each image left-right with probability 1/2; None: no (a config's null is what the data asks for).
    - `resident`: keep all pixels on the device as uint8; None: if they take at most 2 GiB, decoded once.
      `workers`: threads that read and decode ahead; 0 reads in `next()`.
    - `rank`, `world`: of several processes that train together, each gets the rows rank, rank + world, ... of every
      batch; the order of the images is that of one process.

    Raises UsageError for an empty split and impossible numbers.
    """

    def __init__(
        self,
        images: Images,
        batch_size: int,
        *,
        device: torch.device,
        seed: int = 0,
        flip: bool | None = False,
        resident: bool | None = None,
        workers: Threads = 2,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if len(images) == 0:
            raise UsageError(f"data={images.name}: its {images.split} split is empty; check data.root, data.validation")
        if batch_size < 1:
            raise UsageError(f"batch_size={batch_size}: allowed is 1 or more, e.g. batch_size=64")
        if batch_size % world:
            raise UsageError(f"batch_size={batch_size}: allowed are multiples of {world}, the number of processes")
        if workers < 0:
            raise UsageError(f"data.workers={workers}: allowed is 0 (no threads) or more, e.g. data.workers=2")
        self.rank, self.world, self.local = rank, world, batch_size // world
        self.size, self.batch_size, self.flip, self.binarise = len(images), batch_size, flip, images.probabilities
        self.device, self.channels, self.shape = torch.device(device), images.spec.channels, images.spec.shape[1:]
        self.spread = images.spec.levels if images.spec.dequantised else 0
        self.crop, self.paired = images.pixels.shape[2:] != self.shape, images.spec.paired
        self._other: Loader | None = None
        if images.source is not None and not self.paired:
            self._other = Loader(
                images.source, batch_size, device=device, seed=_mix(seed, -2), flip=flip, resident=resident,
                workers=workers, rank=rank, world=world,
            )  # fmt: skip
        small = images.pixels.nbytes <= RESIDENT_BYTES and not isinstance(images.pixels, AtAccess)
        self.resident = small if resident is None else resident
        self._flips = torch.Generator(self.device)
        self._where = self.device if self.resident else torch.device("cpu")  # of the order
        self._shuffler = torch.Generator()
        self._rows: _Fresh | _Resident | _Streamed
        if images.fresh is not None:
            self._rows = _Fresh(images.fresh, self.local, self._flips)
        else:
            self._rows = _Resident(images, self._where) if self.resident else _Streamed(images, self.device, workers)
        self._start(seed, 0)
        self._flips.manual_seed(_mix(self._own_seed, -1))

    def next(self, progress: float = 0.0) -> Batch:
        """The next batch: image (N, C, H, W) float32 in [-1, 1], label (N,) int64 or None, progress () float32.
        Points are (N, D, 1, 1) float32. Nothing waits for the device. Raises what a thread raised.
        """
        return self.compute(self.prepare(progress))

    def prepare(self, progress: float = 0.0) -> Drawn:
        """Choose the next batch: the host part, which moves the place in the stream, fetches and copies; see next()."""
        rows = self._rows.prepare(self._index)
        self._given += self.batch_size
        share = torch.full((), progress, dtype=torch.float32, device=self.device)
        return Drawn(rows, share, None if self._other is None else self._other.prepare())

    def compute(self, drawn: Drawn) -> Batch:
        """Make the batch that was chosen: the device part, which reads no value of a tensor; see next()."""
        pixels, label = self._rows.compute(drawn.rows)
        if self.flip:
            mirror = torch.rand(len(pixels), 1, 1, 1, generator=self._flips, device=self.device) < 0.5
            pixels = torch.where(mirror, pixels.flip(-1), pixels)
        if self.binarise:
            uniform = torch.rand(pixels.shape, generator=self._flips, device=self.device)
            pixels = (uniform * 255 < pixels).to(torch.uint8) * 255
        if self.crop:
            pixels = _cropped(pixels, self.shape, self._flips)
        image = scaled(pixels)
        if self.spread:
            image = dequantised(image, self.spread, self._flips)
        source = None if self._other is None or drawn.source is None else self._other.compute(drawn.source).image
        if self.paired:
            image, source = image[:, : self.channels].contiguous(), image[:, self.channels :].contiguous()
        return Batch(image, label, source, drawn.progress)

    def state_dict(self) -> dict:
        """What continues the stream bit for bit: plain ints, the generator's state."""
        other = {} if self._other is None else {"source": self._other.state_dict()}
        return {"seed": self._seed, "given": self._given, "size": self.size, "flips": self._flips.get_state(), **other}

    def load_state_dict(self, state: dict, *, others: bool = False) -> None:
        """Continue after the batches given out when `state` was taken; batch size and number of ranks may be others.

        Raises UsageError when the state belongs to data of another size, unless the images may be `others`.
        """
        if state["size"] != self.size and not others:
            have = f"the run had {state['size']} training images, this data has {self.size}"
            raise UsageError(f"resume: {have}; use the same data.root, data.validation and data.seed")
        self._start(state["seed"], state["given"])
        if self._other is not None:
            self._other.load_state_dict(state["source"], others=others)
        if state["flips"].dtype != torch.uint8:
            raise UsageError("resume: the state of the flips in this checkpoint is none")
        if state["flips"].shape == self._flips.get_state().shape:
            self._flips.set_state(state["flips"].cpu())
        else:  # taken on another kind of device: its numbers cannot be continued, only replaced
            self.part_ways()

    def part_ways(self) -> None:
        """Go on with new flips, which are this process's own."""
        self._flips.manual_seed(_mix(self._own_seed, -1 - self._given))
        if self._other is not None:
            self._other.part_ways()

    def generators(self) -> list[torch.Generator]:
        """Those that compute() draws from."""
        return [self._flips, *(self._other.generators() if self._other else ())]

    def close(self) -> None:
        """Stop and join the threads. Closing twice is fine, `next()` afterwards is not."""
        self._rows.close()
        if self._other is not None:
            self._other.close()

    def _start(self, seed: int, given: int) -> None:
        self._rows.reset()
        self._seed, self._given, self._own_seed = seed, given, _mix(seed, self.rank) if self.rank else seed
        self._epoch, self._offset = divmod(given, self.size)  # of the next index, which runs ahead when prefetching
        self._order = self._permutation()

    def _permutation(self) -> Tensor:
        self._shuffler.manual_seed(_mix(self._seed, self._epoch))
        order = torch.randperm(self.size, generator=self._shuffler)
        # From pinned memory this returns at once; torch keeps the buffer until the copy is done.
        return order.pin_memory().to(self._where, non_blocking=True) if self._where.type == "cuda" else order

    def _index(self) -> Tensor:
        """Positions (batch_size,) int64 of the next batch."""
        pieces, wanted = [], self.batch_size
        while wanted:
            if self._offset == self.size:
                self._epoch, self._offset = self._epoch + 1, 0
                self._order = self._permutation()
            piece = self._order[self._offset : self._offset + wanted]
            pieces.append(piece)
            self._offset += len(piece)
            wanted -= len(piece)
        return (pieces[0] if len(pieces) == 1 else torch.cat(pieces))[self.rank :: self.world]


class _Fresh:
    """Images drawn anew for every batch, by the generator that is saved with the loader."""

    def __init__(self, draw: Draw, batch_size: int, generator: torch.Generator) -> None:
        self.draw, self.batch_size, self.generator = draw, batch_size, generator

    def prepare(self, index: Callable[[], Tensor]) -> None: ...

    def compute(self, rows: None) -> tuple[Tensor, Tensor | None]:
        return self.draw(self.batch_size, self.generator)

    def reset(self) -> None: ...

    def close(self) -> None: ...


class _Resident:
    """All pixels and labels on the device."""

    def __init__(self, images: Images, device: torch.device) -> None:
        arrays = []
        for pixels in _stacked(images):
            if isinstance(pixels, np.memmap | AtAccess) or not pixels.flags.writeable or not pixels.flags.c_contiguous:
                pixels = np.array(pixels)  # torch shares memory with the array, which must be all there and writable
            arrays.append(torch.from_numpy(pixels).to(device))
        self.pixels = arrays[0] if len(arrays) == 1 else torch.cat(arrays, 1)
        self.labels = None if images.labels is None else torch.tensor(images.labels, dtype=torch.int64, device=device)

    def prepare(self, index: Callable[[], Tensor]) -> Tensor:
        return index()

    def compute(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.pixels.index_select(0, rows), None if self.labels is None else self.labels.index_select(0, rows)

    def reset(self) -> None: ...

    def close(self) -> None: ...


class _Streamed:
    """Rows gathered from an array or memmap, a few batches ahead."""

    def __init__(self, images: Images, device: torch.device, workers: int) -> None:
        self.arrays, self.labels, self.device = _stacked(images), images.labels, device
        self.pinned = device.type == "cuda"
        self.ahead = 2 * workers
        self.pool = ThreadPoolExecutor(workers, thread_name_prefix="gancli-data") if workers else None
        self.waiting: deque[Future] = deque()

    def prepare(self, index: Callable[[], Tensor]) -> tuple[Tensor, Tensor | None]:
        if self.pool is None:
            pixels, labels = self._gather(index())
        else:
            while len(self.waiting) <= self.ahead:
                self.waiting.append(self.pool.submit(self._gather, index()))
            pixels, labels = self.waiting[0].result()  # stays in front when it failed, so that it fails again
            self.waiting.popleft()
        # From pinned memory this returns at once.
        pixels = pixels.to(self.device, non_blocking=True)
        return pixels, None if labels is None else labels.to(self.device, non_blocking=True)

    def compute(self, rows: tuple[Tensor, Tensor | None]) -> tuple[Tensor, Tensor | None]:
        return rows

    def _gather(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        index = rows.numpy()
        channels, size = [array.shape[1] for array in self.arrays], self.arrays[0].shape[2:]
        pixels = torch.empty((len(index), sum(channels), *size), dtype=torch.uint8, pin_memory=self.pinned)
        for array, part in zip(self.arrays, pixels.split(channels, 1)):  # torch.cat would leave pinned memory
            # mode="clip" writes straight into a contiguous output; "raise", the default, goes through a buffer.
            np.take(array, index, axis=0, out=part.numpy(), mode="clip")
        if self.labels is None:
            return pixels, None
        labels = torch.from_numpy(np.take(self.labels, index))
        return pixels, labels.pin_memory() if self.pinned else labels

    def reset(self) -> None:
        for future in self.waiting:
            future.cancel()
        self.waiting.clear()

    def close(self) -> None:
        self.reset()
        if self.pool is not None:
            self.pool.shutdown(wait=True, cancel_futures=True)


def _stacked(images: Images) -> list[np.ndarray]:
    """Return the pixels, and those of the sources where they come in pairs: their channels follow."""
    sources = [images.source.pixels] if images.spec.paired and images.source is not None else []
    return [images.pixels, *sources]


def _cropped(pixels: Tensor, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Cut (N, C, H, W) to (N, C, *size), each at its own random place."""
    n, device = len(pixels), pixels.device
    places = [
        torch.randint(have - want + 1, (n, 1), generator=generator, device=device) + torch.arange(want, device=device)
        for have, want in zip(pixels.shape[2:], size)
    ]
    rows, columns = places[0][:, :, None], places[1][:, None, :]  # (N, H', 1), (N, 1, W')
    return pixels[torch.arange(n, device=device)[:, None, None], :, rows, columns].permute(0, 3, 1, 2)


def _mix(seed: int, stream: int) -> int:
    """A seed for `stream` of `seed`. Hashed: neighbouring seeds or epochs must not give related permutations."""
    low, high = np.random.SeedSequence([seed & _MASK, stream & _MASK]).generate_state(2).tolist()
    return (high << 32 | low) & _MASK
