"""Inception features, as used in papers: pytorch-fid's network and weights (TensorFlow's inception-2015-12-05)."""

import logging
import os
import pickle
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancli.errors import UsageError, did_you_mean
from gancli.files import replacing, sha256_file
from gancli.metrics.features import Features, Images, exact

# The published file's, of which torch.hub's convention puts eight digits into the name; as other projects quote it.
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
SIZE = 299

log = logging.getLogger("gancli")

PREPROCS = ("tf", "pytorch_fid")


class Inception(Features):
    """2048 features for FID and 1008 logits without bias for IS, as in openai/improved-gan.

    ``preproc`` chooses how images are resized to 299x299: ``tf`` as in TTUR, torch-fidelity and StyleGAN (TensorFlow
    1's bilinear), ``pytorch_fid`` as in ``python -m pytorch_fid``. Their scores are not comparable.
    """

    dim, classes = 2048, 1008

    def __init__(
        self,
        weights: str | None = None,  # file; None for $GANCLI_INCEPTION, else torch.hub's, downloaded if missing
        preproc: Literal["tf", "pytorch_fid"] = "tf",
    ) -> None:
        if preproc not in PREPROCS:
            hint = did_you_mean(str(preproc), PREPROCS)
            raise UsageError(f"features.preproc={preproc} is unknown; allowed: {', '.join(PREPROCS)}{hint}")
        self.name = "inception" if preproc == "tf" else f"inception-{preproc}"
        self.preproc = preproc
        self.weights = weights or os.environ.get("GANCLI_INCEPTION") or None

    def prepare(self, train: Callable[[], Images], device: torch.device) -> None:
        """Find, check and load the weights; ``train`` is not called. Raises UsageError."""
        library = _pytorch_fid()
        path, self._sha256 = named(self.weights) if self.weights else published(library.FID_WEIGHTS_URL)
        net = build(library, path).to(device)
        self._file, self._device = path.name, device
        self._unbiased = net.get_parameter("fc.weight")  # (1008, 2048); IS does not use the bias
        net.fc = nn.Identity()
        self._net = net

    def protocol(self) -> dict[str, object]:
        return {
            "name": self.name,
            "network": "pytorch_fid.inception.fid_inception_v3",
            "weights": self._file,
            "weights_sha256": self._sha256,
            "preproc": self.preproc,
            "dim": self.dim,
            "precision": "float32",
        }

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        with exact():
            x = preprocess(images.to(self._device), self.preproc)
            features = self._net(x.expand(-1, 3, -1, -1))  # a grey image is repeated in three channels
            return features, features @ self._unbiased.T


def preprocess(images: Tensor, preproc: str) -> Tensor:
    """Resize and scale uint8 images (N, C, H, W) to float32 (N, C, 299, 299) in about [-1, 1]."""
    if preproc == "tf":
        return (resize_tf1(images.float(), SIZE) - 128) / 128
    x = F.interpolate(images.float() / 255, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    return 2 * x - 1


def resize_tf1(x: Tensor, size: int) -> Tensor:
    """Resize like TensorFlow 1's ``resize_bilinear(align_corners=False)``, which samples at i * in/out.

    The order of operations, columns then rows in float32, is TensorFlow's, so that results agree bit for bit: the
    rounding errors of two matrix products A x A^T would change the Inception Score.
    """
    for dim in (3, 2):
        length = x.shape[dim]
        position = torch.arange(size, dtype=x.dtype, device=x.device) * torch.tensor(length / size, dtype=x.dtype)
        low = position.long()
        weight = (position - low).view(-1, *[1] * (3 - dim))  # (299,) for columns, (299, 1) for rows
        start, stop = x.index_select(dim, low), x.index_select(dim, (low + 1).clamp_max(length - 1))
        x = start + (stop - start) * weight
    return x


def named(weights: str) -> tuple[Path, str]:
    """Return the path of a weights file and its SHA-256, unchecked. Raises UsageError if it cannot be read."""
    path = Path(weights).expanduser()
    try:
        return path, sha256_file(path)
    except OSError as error:
        raise UsageError(
            f"features.weights={weights} cannot be read ({error.strerror}): name an existing file"
        ) from None


def published(url: str) -> tuple[Path, str]:
    """Return the path of the published weights in torch.hub's folder and their SHA-256; download them if missing.

    Raises:
        UsageError: the download failed, or the file is damaged.
    """
    path = Path(torch.hub.get_dir(), "checkpoints", url.rsplit("/", 1)[-1])
    if not path.exists():
        _download(url, path)
    sha256 = sha256_file(path)
    if sha256 != SHA256:
        raise UsageError(
            f"{path} is damaged (SHA-256 {sha256}, expected {SHA256}): delete it and try again, "
            "or use it anyway with features.weights=FILE"
        )
    return path, sha256


def _download(url: str, path: Path) -> None:
    log.info("downloading %s to %s", path.name, path.parent)
    try:
        with replacing(path) as temporary:
            torch.hub.download_url_to_file(url, str(temporary), hash_prefix=SHA256, progress=False)
    except (OSError, HTTPException, RuntimeError) as error:  # no network, full disk, lost connection, wrong file
        reason = " ".join(str(getattr(error, "reason", error)).split())
        raise UsageError(
            f"features=inception needs {path.name}, but its download failed ({reason}): fetch {url}, "
            f"put it into {path.parent} or name it with features.weights=FILE (or GANCLI_INCEPTION=FILE), "
            "or choose features=classifier"
        ) from None


def build(library: Any, path: Path) -> nn.Module:
    """Return pytorch-fid's Inception in eval mode with the weights of ``path``, on the CPU.

    Its builder downloads weights without checking them, so its loader is replaced during the call.

    Args:
        library: the module ``pytorch_fid.inception``.
        path: file of weights.

    Raises:
        UsageError: the file does not hold the network's weights.
    """
    loader = library.load_state_dict_from_url
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        library.load_state_dict_from_url = lambda *args, **kwargs: state
        with torch.random.fork_rng(devices=[]):  # initialization draws random numbers
            net = library.fid_inception_v3()
    except (OSError, EOFError, RuntimeError, TypeError, AttributeError, pickle.UnpicklingError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UsageError(
            f"{path} does not hold pytorch-fid's Inception weights ({reason}): "
            f"name {library.FID_WEIGHTS_URL.rsplit('/', 1)[-1]} in features.weights=FILE"
        ) from None
    finally:
        library.load_state_dict_from_url = loader
    return net.eval().requires_grad_(False)


def _pytorch_fid() -> ModuleType:
    try:
        from pytorch_fid import inception
    except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision was built for another torch
        reason = str(error).strip().split("\n")[0]
        raise UsageError(
            f"features=inception cannot import pytorch-fid ({reason}): install pytorch-fid and the torchvision "
            "that fits this torch, or choose features=classifier"
        ) from None
    return inception
