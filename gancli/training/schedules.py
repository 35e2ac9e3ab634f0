"""What the learning rate and the momentum are, as functions of images seen."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from gancli.nn.annealed import Annealed


class Rates(NamedTuple):
    """What an optimizer is set to for the next update."""

    lr: float  # factor on each parameter group's own learning rate
    momentum: float | None = None  # None: leave the optimizer's own


class Schedule(ABC):
    """Rates as a function of images seen, so that they survive resume and a changed batch size.

    Args:
        warmup: images over which the learning rate climbs linearly from zero; 0 for none.

    Raises:
        ValueError: a number outside its range.
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
        # Before the first image the factor is zero: one update without effect, as is the convention.
        return rates._replace(lr=rates.lr * images / self.warmup) if images < self.warmup else rates


class Constant(Schedule):
    """The learning rate as it stands in the config."""

    def rates(self, images: int, total: int) -> Rates:
        return Rates(1.0)


class Linear(Schedule):
    """Constant, then linear to ``end`` times the learning rate at the last image.

    Args:
        start: share of the run, in [0, 1), after which the decay begins (CycleGAN: .5; WGAN-GP: 0).
        end: factor reached at the end.
        warmup: see Schedule.
    """

    def __init__(self, start: float = 0.5, end: float = 0.0, warmup: int = 0) -> None:
        super().__init__(warmup)
        if not 0 <= start < 1:
            raise ValueError(f"start={start} is a share of the run: 0 or more, and below 1")
        self.factor = Annealed(1.0, end, start=start)

    def rates(self, images: int, total: int) -> Rates:
        return Rates(self.factor(images / total))


class Exponential(Schedule):
    """The learning rate halves again and again.

    Args:
        half_life: images after which it has halved.
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
    """The 2014 recipe: momentum ramps up linearly while the learning rate decays exponentially (its mnist.yaml).

    Args:
        momentum_start: momentum of the first update.
        momentum_end: momentum from the ramp's end on.
        ramp: images of the ramp; 250 epochs of 50,000 in the release.
        decay: the learning rate is divided by this ...
        decay_every: ... once per so many images (one update of 100 images in the release).
        floor: smallest factor; 1e-6 / 0.1 in the release.
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
