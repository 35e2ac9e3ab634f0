"""The interface of a feature extractor: images in, features for FID and class logits for the Inception Score out."""

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
    """A fixed function of single images; a score is only comparable with scores of the same ``protocol()``."""

    name: str  # short, part of the result's file name
    dim: int  # of the features
    classes: int  # of the logits; known after prepare()
    points: ClassVar[bool] = False  # takes points and no pictures

    @abstractmethod
    def prepare(self, train: Callable[[], Images], device: torch.device) -> None:
        """Get ready on ``device``: everything that can fail (files, downloads, training) fails here, before sampling.

        ``train`` returns the training split; it is called only by extractors that learn from the data. Never touches a
        global random state, for it may be called in the middle of a training run. Raises UsageError.
        """

    @abstractmethod
    def protocol(self) -> dict[str, object]:
        """Plain facts that fix the extractor: network, hash of the weights, preprocessing. After ``prepare()``."""

    @abstractmethod
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (N, C, H, W) on any device -> float32 features (N, dim), logits (N, classes) on the prepared one.

        Points are (N, D, 1, 1) float32.
        """


class Pixels(Features):
    """No features at all: for metrics that look at pixels or ask the model."""

    name, dim, classes = "pixels", 0, 0

    def prepare(self, train: Callable[[], Images], device: torch.device) -> None:
        """Do nothing."""

    def protocol(self) -> dict[str, object]:
        return {"name": self.name}

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        raise TypeError("there are no features of pixels; Scorer asks for none")


_OPS = ("conv", "rnn", "matmul")


@contextmanager
def exact() -> Iterator[None]:
    """Full float32, no autocast, no gradients, no timing-dependent kernels; whatever was set before is restored.

    From 2.9 on, torch has a legacy and a fine switch for TF32 and refuses to read the one when they disagree: setting
    the legacy one sets both, so that goes in; going out, the fine ones are put back last.
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
    except RuntimeError:  # the legacy switch cannot be read: only the new one was used
        return None
