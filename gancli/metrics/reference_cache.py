"""Means and covariances of real images' features, kept on disk, ``<cache>/moments``."""

import logging
from collections.abc import Collection
from pathlib import Path

import torch

from gancli.data.untrusted import Unreadable
from gancli.files import cache_dir, digest
from gancli.metrics import moments
from gancli.metrics.features import Features, Images

log = logging.getLogger("gancli")

REFERENCE_VERSION = 1


class ReferenceCache:
    """The cache of one extractor.

    Args:
        features: the extractor.
        batch_size: images whose features are computed together.
        device: of the sums.
        parts: names of sets that are only a part of their images.
    """

    def __init__(self, features: Features, batch_size: int, device: torch.device, parts: Collection[str]) -> None:
        self.features, self.batch_size, self.device, self.parts = features, batch_size, device, parts

    def _path(self, images: Images, name: str, n: int) -> Path:
        facts = {
            "version": REFERENCE_VERSION, "data": images.fingerprint, "split": images.split, "n": n,
            "shape": [images.spec.channels, images.spec.height, images.spec.width],
            "features": self.features.protocol(), "batch_size": self.batch_size, "device": self.device.type,
        }  # fmt: skip
        if name in self.parts:
            facts["part"] = name
        return cache_dir() / "moments" / f"{digest(facts)[:32]}.npz"

    def load(self, images: Images, name: str, n: int) -> moments.Gaussian | None:
        """Return what was kept of n images; None: nothing, or it is damaged."""
        path = self._path(images, name, n)
        try:
            return moments.load(path) if path.exists() else None
        except Unreadable as error:
            log.warning("the cached statistics %s are damaged (%s): recomputing them", path, error)
            return None

    def keep(self, images: Images, name: str, n: int, gaussian: moments.Gaussian) -> None:
        """Keep the mean and covariance of n images."""
        path = self._path(images, name, n)
        try:
            moments.save(path, gaussian)
        except OSError as error:
            log.warning("the reference statistics could not be cached in %s: %s", path, error)
