"""Schedules of the learning rate and the momentum as functions of images seen."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from gancli.nn.annealed import Annealed


class Rates(NamedTuple):
    """The settings of an optimizer for the next update."""

    lr: float  # factor on each parameter group's own learning rate
    momentum: float | None = None  # None keeps the optimizer's own


class Schedule(ABC):
    """Rates as a function of images seen, so that resuming and other batch sizes do not change them.

    Args:
        warmup: number of images over which the learning rate rises linearly from zero; 0 for no warm-up.

    Raises:
        ValueError: a number is out of range.
    """

    def __init__(self, warmup: int = 0) -> None:
        if warmup < 0:
            raise ValueError(f"warmup={warmup} must be 0 or more images")
        self.warmup = warmup

    @abstractmethod
    def rates(self, images: int, total: int) -> Rates:
        """Return the rates after ``images`` of ``total`` images, without the warm-up."""

    def __call__(self, images: int, total: int) -> Rates:
        rates = self.rates(images, total)
        # The factor is zero before the first image, so the first update has no effect, as is the convention.
        return rates._replace(lr=rates.lr * images / self.warmup) if images < self.warmup else rates


class Constant(Schedule):
    """The learning rate of the config, unchanged."""

    def rates(self, images: int, total: int) -> Rates:
        return Rates(1.0)


class Linear(Schedule):
    """Constant at first, then linear decay to ``end`` times the learning rate at the last image.

    Args:
        start: share of the run, in [0, 1), after which the decay begins (CycleGAN: 0.5; WGAN-GP: 0).
        end: factor at the end of the run.
        warmup: see Schedule.
    """

    def __init__(self, start: float = 0.5, end: float = 0.0, warmup: int = 0) -> None:
        super().__init__(warmup)
        if not 0 <= start < 1:
            raise ValueError(f"start={start} must be a share of the run, 0 or more and below 1")
        self.factor = Annealed(1.0, end, start=start)

    def rates(self, images: int, total: int) -> Rates:
        return Rates(self.factor(images / total))


class Exponential(Schedule):
    """Exponential decay of the learning rate.

    Args:
        half_life: number of images in which the learning rate halves.
        warmup: see Schedule.
    """

    def __init__(self, half_life: int = 10_000_000, warmup: int = 0) -> None:
        super().__init__(warmup)
        if half_life < 1:
            raise ValueError(f"half_life={half_life} must be 1 image or more")
        self.half_life = half_life

    def rates(self, images: int, total: int) -> Rates:
        return Rates(0.5 ** (images / self.half_life))


class Goodfellow2014(Schedule):
    """The 2014 recipe: linear ramp of the momentum, exponential decay of the learning rate (the release's mnist.yaml).

    Args:
        momentum_start: momentum of the first update.
        momentum_end: momentum after the ramp.
        ramp: number of images in the ramp; 250 epochs of 50,000 in the release.
        decay: divisor of the learning rate, applied once per ``decay_every`` images.
        decay_every: number of images; one update of 100 images in the release.
        floor: minimum factor; 1e-6 / 0.1 in the release.
        warmup: see Schedule.
    """

    def __init__(
        self,
        momentum_start: float = 0.5,
        momentum_end: float = 0.7,
        ramp: int = 12_500_000,
        decay: float = 1.000004,
        decay_every: int = 100,
        floor: float = 1e-5,
        warmup: int = 0,
    ) -> None:
        super().__init__(warmup)
        if ramp < 1 or decay_every < 1 or decay <= 0:
            raise ValueError(f"ramp={ramp} and decay_every={decay_every} must be 1 or more, decay={decay} above 0")
        self.momentum_start, self.momentum_end, self.ramp = momentum_start, momentum_end, ramp
        self.decay, self.decay_every, self.floor = decay, decay_every, floor

    def rates(self, images: int, total: int) -> Rates:
        momentum = self.momentum_start + (self.momentum_end - self.momentum_start) * min(images / self.ramp, 1.0)
        return Rates(max(self.decay ** (-images / self.decay_every), self.floor), momentum)
