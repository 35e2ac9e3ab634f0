"""Sampling images pixel by pixel from noise."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.fx.proxy import TraceError
from torch.utils._python_dispatch import TorchDispatchMode

from gancli.errors import UsageError
from gancli.nn.cached import Cached
from gancli.nn.incremental import Plan
from gancli.nn.labels import Condition
from gancli.nn.likelihoods import Likelihood
from gancli.nn.recorded import Graph, reason
from gancli.nn.stepper import Stepper

log = logging.getLogger("gancli")

MOST_BYTES = 256 * 2**20  # the largest pixel sampler that is kept for the next batch; a larger one captures nothing
MOST_OF_A_GPU = 16  # on a GPU, up to this part of its memory: 5 GiB of 80
NODES = 20_000  # of a CUDA graph, about


class Given(NamedTuple):
    """Pixels that are copied from images instead of being sampled."""

    image: Tensor  # (n, C, H, W) on the grid
    mask: Tensor  # (H, W) bool, true where a pixel is given


class PixelSampler:
    """Samples images pixel by pixel from the parameters that the stepper returns.

    With ``record``, the second batch records all steps as graphs, which it and later batches replay: recording takes
    longer than drawing once. A graph holds so many steps that it has about ``NODES`` nodes, since a graph's memory and
    the time to make it grow with them. Where recording fails, all batches are drawn step by step, and the log says why.

    Args:
        stepper: evaluates the network and stores the pixels.
        likelihood: maps parameters and noise to pixels.
        shape: shape of the noise, (n, likelihood.noise_channels(C), H, W).
        channels: number of channels, C.
        temperature: see Likelihood.tempered.
        given: whether some pixels will be given.
        like: a tensor with the device and dtype to use.
        record: the class of the graphs; None: all batches are drawn step by step.
    """

    def __init__(
        self,
        stepper: Stepper,
        likelihood: Likelihood,
        shape: tuple[int, ...],
        channels: int,
        *,
        temperature: float,
        given: bool,
        like: Tensor,
        record: type[Graph] | None = None,
    ) -> None:
        self.stepper, self.likelihood, self.temperature = stepper, likelihood, temperature
        self.colours, n, pixels = likelihood.groups(channels), shape[0], shape[2] * shape[3]
        sizes = [len(p) * n for p in stepper.pixels]
        self.noise = like.new_zeros(pixels * n, shape[1])
        self.image = like.new_zeros(pixels * n, channels)
        self.mask = torch.zeros(pixels * n, 1, dtype=torch.bool, device=like.device)
        self.rows = [each.split(sizes) for each in (self.noise, self.image, self.mask)]
        self.given = given
        self.batches = 0  # that were drawn so far
        self.record = record
        self.graphs: list[Graph] = []

    def __call__(self, noise: Tensor, label: Condition | None, given: Given | None) -> Tensor:
        """Map uniform noise, (n, K, H, W), to images, (n, C, H, W)."""
        self.stepper.start(label)
        self.noise.copy_(self.stepper.rows(noise))
        if given is not None:
            self.image.copy_(self.stepper.rows(given.image))
            self.mask.copy_(self.stepper.rows(given.mask.to(noise.device).expand(len(noise), 1, -1, -1)))
        # Evaluations of the whole network, which keep nothing, are not recorded.
        if self.record is not None and self.batches and not self.graphs and self.stepper.recorded() is not None:
            self._capture(self.record, label)
        for graph in self.graphs:
            graph.replay()
        if not self.graphs:
            self._draw(range(len(self.rows[0])))
        self.batches += 1
        return self.stepper.images()

    def _draw(self, steps: range) -> None:
        noise, image, mask = self.rows
        for step in steps:
            for colour in range(self.colours):
                params = self.stepper.params(step, colour)
                if self.temperature != 1:
                    params = self.likelihood.tempered(params, self.temperature)
                drawn = self.likelihood.sample(params, noise[step])
                if self.given:
                    drawn = torch.where(mask[step], image[step], drawn)
                self.stepper.put(step, drawn)

    def parts(self) -> list[range]:
        """Return the steps of each graph, in order; a step's nodes are counted by its operations, which run here.

        The stepper has to be started again afterwards.
        """
        steps = len(self.rows[0])
        some = range(steps // 2, min(steps // 2 + 4, steps))  # in the middle: the first pixels have few before them
        with Counted() as counted:
            self._draw(some)
        each = max(NODES * len(some) // max(counted.calls, 1), 1)
        return [range(start, min(start + each, steps)) for start in range(0, steps, each)]

    def _capture(self, record: type[Graph], label: Condition | None) -> None:
        """Record all steps, after some of them as a rehearsal, in which the libraries initialise.

        The graphs are always replayed in this order, and what one leaves for the next lies in the stepper's memory.
        """
        try:
            parts = record.warm(self.parts)
            self.stepper.start(label)
            for steps in parts:
                graph = record([])
                graph.capture(partial(self._draw, steps))
                self.graphs.append(graph)
        except RuntimeError as error:
            self.graphs, self.record = [], None
            self.stepper.start(label)
            log.warning("runtime.graphs: pixels are drawn step by step, as %s", reason(error))


class Counted(TorchDispatchMode):
    """Counts the operations, views among them: an upper bound of a graph's nodes where no operation takes several."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        return func(*args, **(kwargs or {}))


def fixed_point(
    network: Callable[[Tensor, Condition | None], Tensor],
    likelihood: Likelihood,
    noise: Tensor,
    label: Condition | None,
    given: Given | None,
    channels: int,
    temperature: float,
) -> Tensor:
    """Return the images that sampling with this noise maps to themselves, (n, C, H, W).

    Each round samples all pixels at once, given the previous round's images (Jacobi iteration, Song et al. 2021). After
    round k, at least the first k pixels (or colours) in order are final, usually far more. It takes at most H * W *
    colours + 1 rounds and gives the same images as sequential sampling. The number of rounds is logged.
    """
    image = noise.new_zeros(len(noise), channels, *noise.shape[2:])
    rounds = 0
    while True:
        before, rounds = image, rounds + 1
        params = network(before, label)
        if temperature != 1:
            params = likelihood.tempered(params, temperature)
        image = likelihood.sample(params, noise)
        if given is not None:
            image = torch.where(given.mask, given.image, image)
        if torch.equal(image, before):
            evaluations = noise[0, 0].numel() * likelihood.groups(channels)
            log.info("sampler=jacobi: %d evaluations of the network, where naive takes %d", rounds, evaluations)
            return image


def most_bytes(device: torch.device) -> int:
    """Return the size below which a pixel sampler is kept for the next batch."""
    if device.type != "cuda":
        return MOST_BYTES
    return max(MOST_BYTES, torch.cuda.get_device_properties(device).total_memory // MOST_OF_A_GPU)


class Kept:
    """The plans and the last pixel sampler, kept for the model's next batch; copies of the model start empty."""

    def __init__(self) -> None:
        self.plans: dict[tuple, Plan] = {}
        self.last: tuple[tuple, PixelSampler] | None = None

    def pixel_sampler(self, key: tuple, make: Callable[[], PixelSampler]) -> PixelSampler:
        """Return the last pixel sampler if it has this key, else call ``make``."""
        if self.last is not None and self.last[0] == key:
            return self.last[1]
        self.last = None  # free its memory before another one is made
        pixel_sampler = make()
        if pixel_sampler.stepper.nbytes() < most_bytes(pixel_sampler.noise.device):
            self.last = key, pixel_sampler
        return pixel_sampler

    def stepper(
        self, network: nn.Module, order: Tensor, image: Tensor, label: Condition | None, *, together: bool
    ) -> Cached:
        """Return a stepper with a cached evaluation of the network, which is planned once for each order.

        Raises:
            UsageError: the network cannot be evaluated at single pixels.
        """
        height, width = image.shape[2:]
        labelled, key = label is not None, (together, label is None, order.numpy().tobytes())
        try:
            if key not in self.plans:
                self.plans[key] = Plan(network, height, width, order, labelled=labelled, together=together)
            return Cached(self.plans[key], network, len(image), image.shape[1], label)
        except (TraceError, IndexError, RuntimeError, TypeError) as error:
            raise UsageError(
                f"{type(network).__name__} has no cached sampler, since it does not consist of pixelwise operations "
                f"and Local layers only ({str(error).splitlines()[0]}): use sampler=naive"
            ) from error

    def __deepcopy__(self, memo: dict) -> "Kept":
        return Kept()  # a pixel sampler is bound to the weights it was made from

    def __reduce__(self) -> tuple:
        return Kept, ()


def check_recorded(recorded: Tensor, params: Tensor, sampler: str) -> None:
    """Compare the parameters that sampling used with those of the whole network on the finished images.

    Raises:
        UsageError: they differ by more than rounding errors.
    """
    scale = params.abs().amax().clamp(min=1)
    error = float((recorded - params).abs().amax() / scale)
    if not error <= 1e4 * torch.finfo(params.dtype).eps:
        raise UsageError(
            f"sampler={sampler}: the cached network differs from the whole one by {error:.2g} of its largest output; "
            "some layer is not pixelwise (such as batch norm), or a mask is wrong: use sampler=naive"
        )
