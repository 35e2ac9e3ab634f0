"""The interface of feature extractors, which map images to features (for FID) and class logits (for IS)."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor


class Spec(Protocol):
    """The part of ``gancli.data.spec.ImageSpec`` that metrics read."""

    @property
    def channels(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def num_classes(self) -> int: ...
    @property
    def shape(self) -> tuple[int, int, int]: ...
    @property
    def levels(self) -> int: ...
    @property
    def dequantised(self) -> bool: ...
    @property
    def points(self) -> bool: ...


class Modes(Protocol):
    """The part of ``gancli.data.source.Modes`` that metrics read."""

    @property
    def centres(self) -> np.ndarray: ...  # float32 (K, D)
    @property
    def std(self) -> np.ndarray: ...  # float32 (K,)


class Images(Protocol):
    """The part of ``gancli.data.source.Images`` that metrics read; ``gancli.metrics`` imports no sibling package."""

    @property
    def pixels(self) -> np.ndarray: ...  # uint8 (N, C, H, W); points: float32 (N, D, 1, 1)
    @property
    def labels(self) -> np.ndarray | None: ...  # int64 (N,)
    @property
    def spec(self) -> Spec: ...
    @property
    def name(self) -> str: ...
    @property
    def split(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def levels(self) -> str: ...
    @property
    def modes(self) -> Modes | None: ...
    @property
    def stacked(self) -> "Images | None": ...
    def __len__(self) -> int: ...


class Features(ABC):
    """A fixed function of single images. Scores are comparable only if their extractors' ``protocol()`` is equal."""

    name: str  # short; part of the name of the score card's file
    dim: int  # number of features
    classes: int  # number of logits; known after prepare()
    points: ClassVar[bool] = False  # whether it takes points instead of images

    @abstractmethod
    def prepare(self, train: Callable[[], Images], device: torch.device) -> None:
        """Load or train the extractor on ``device``, so that anything that can fail does so before sampling.

        It must not change global random states, because it may be called in the middle of a training run.

        Args:
            train: returns the training split; called only by extractors that learn from the data.
            device: the device to compute features on.

        Raises:
            UsageError: the weights or the data cannot be used.
        """

    @abstractmethod
    def protocol(self) -> dict[str, object]:
        """Return the facts that determine the features, as plain types: network, hash of weights, preprocessing.

        Call ``prepare()`` first.
        """

    @abstractmethod
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return float32 features (N, dim) and logits (N, classes) on the prepared device.

        Args:
            images: uint8 (N, C, H, W), or floats on the same scale, 0 to 255, which are not rounded; or points, float32
                (N, D, 1, 1). On any device.
        """


class Pixels(Features):
    """No features, for metrics of pixels or of the model's likelihood."""

    name, dim, classes = "pixels", 0, 0

    def prepare(self, train: Callable[[], Images], device: torch.device) -> None:
        """Do nothing."""

    def protocol(self) -> dict[str, object]:
        return {"name": self.name}

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        raise TypeError("Pixels has no features; Scorer must not ask for them")


_OPS = ("conv", "rnn", "matmul")


@contextmanager
def exact() -> Iterator[None]:
    """Compute in full float32, without autocast and gradients, with deterministic kernels; restore settings on exit.

    Since 2.9, torch has legacy and fine-grained switches for TF32, and refuses to read the legacy ones if the two
    disagree. Setting a legacy switch sets both, so it comes first; on exit the fine-grained ones are restored last.
    """
    backends = torch.backends
    switches = [(backends.cuda, "matmul"), *((owner, op) for owner in (backends.cudnn, backends.mkldnn) for op in _OPS)]
    fine: list[Any] = [s for owner, op in switches if hasattr(s := getattr(owner, op, None), "fp32_precision")]
    before = [switch.fp32_precision for switch in fine]
    matmul, convolution = _or_none(torch.get_float32_matmul_precision), _or_none(lambda: backends.cudnn.allow_tf32)
    benchmark, deterministic = backends.cudnn.benchmark, backends.cudnn.deterministic
    try:
        torch.set_float32_matmul_precision("highest")
        backends.cudnn.allow_tf32 = False
        for switch in fine:
            switch.fp32_precision = "ieee"
        backends.cudnn.benchmark, backends.cudnn.deterministic = False, True
        with torch.no_grad(), torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            yield
    finally:
        if matmul is not None:
            torch.set_float32_matmul_precision(matmul)
        if convolution is not None:
            backends.cudnn.allow_tf32 = convolution
        for switch, value in zip(fine, before, strict=True):
            switch.fp32_precision = value
        backends.cudnn.benchmark, backends.cudnn.deterministic = benchmark, deterministic


def _or_none(get: Callable[[], Any]) -> Any:
    try:
        return get()
    except RuntimeError:  # the legacy switch cannot be read if only the fine-grained one was set
        return None
