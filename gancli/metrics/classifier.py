"""Features of a small CNN, trained once on the labelled training split. They need no download and suit digits."""

import hashlib
import logging
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancli.errors import UsageError, counted
from gancli.files import cache_dir, digest, replacing
from gancli.metrics.features import Features, Images, Spec, exact

VERSION = 1  # of network and training; increase it if either changes, because scores are not comparable across versions
WIDTH = 128  # channels of the last stage, and number of features
BATCH = 128
LEARNING_RATE = 3e-3
IMAGES = 180_000  # seen in training unless epochs are given

log = logging.getLogger("gancli")


class Classifier(Features):
    """128 features (after the last ReLU) and the logits of the data's own classes; 99 % accurate on MNIST.

    The trained network is cached under ``$GANCLI_CACHE`` or ``~/.cache/gancli`` by a hash of data and settings, so that
    all runs on the same data share one extractor.
    """

    name, dim = "classifier", WIDTH

    def __init__(
        self,
        epochs: int | None = None,  # None: as many as make about 180,000 images, from 3 to 60
        seed: int = 0,  # of the initial weights and the order of images
    ) -> None:
        if epochs is not None and epochs < 1:
            raise UsageError(f"features.epochs={epochs} trains nothing: give 1 or more, or null")
        self.epochs, self.seed = epochs, seed

    def prepare(self, train: Callable[[], Images], device: torch.device) -> None:
        """Load the classifier of this training split, or train it. Raises UsageError if the data has no labels."""
        images = train()
        if images.labels is None or images.spec.num_classes < 2:
            raise UsageError(
                f"features=classifier learns from labels, but {images.name} has none: choose features=inception"
            )
        self.classes = images.spec.num_classes
        epochs = self.epochs or min(60, max(3, round(IMAGES / len(images))))
        self._facts: dict[str, object] = {
            "name": self.name,
            "version": VERSION,
            "trained_on": f"{images.name} {images.split}",
            "fingerprint": images.fingerprint,
            "images": len(images),
            "epochs": epochs,
            "seed": self.seed,
            "dim": self.dim,
        }
        path = cache_dir() / "classifiers" / f"{digest(self._facts)[:16]}.pt"
        net = network(images.spec, self.seed)
        cached = _load(path, net)
        if cached is None:
            net = network(images.spec, self.seed)  # a damaged file may have overwritten part of the first one
            accuracy = fit(net.to(device), images, epochs, self.seed)
            _save(path, net, accuracy)
        else:
            accuracy = cached["held_out_accuracy"]
        weights = hashlib.sha256()
        for name, value in sorted(net.state_dict().items()):
            weights.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
        self._facts |= {"weights_sha256": weights.hexdigest(), "held_out_accuracy": accuracy, "precision": "float32"}
        self._net, self._device = net.to(device).eval().requires_grad_(False), device

    def protocol(self) -> dict[str, object]:
        return dict(self._facts)

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        with exact():
            features = self._net[:-1](scaled(images.to(self._device)))
            return features, self._net[-1](features)


def network(spec: Spec, seed: int) -> nn.Sequential:
    """Return a CNN for 8 to 128 pixels: 3x3 convolutions of stride 2 down to about 4x4, then two linear layers.

    Widths double up to 128 channels: networks for 32 pixels start with 32 channels and those for 128 pixels with 8, at
    about the same cost. Strided convolutions, unlike max pooling, have a deterministic gradient on CUDA, and cost a
    quarter as much.
    """
    stages = max(2, round(math.log2(math.sqrt(spec.height * spec.width) / 4)))
    layers: list[nn.Module] = []
    channels, height, width = spec.channels, spec.height, spec.width
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # not torch.manual_seed: it would seed the GPUs of the run as well
        for stage in reversed(range(stages)):
            out = max(8, WIDTH >> stage)
            layers += [nn.Conv2d(channels, out, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
            channels, height, width = out, (height + 1) // 2, (width + 1) // 2
        layers += [
            nn.Flatten(),
            nn.Linear(channels * height * width, WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, spec.num_classes),
        ]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)  # a quarter faster on a CPU


def fit(net: nn.Sequential, images: Images, epochs: int, seed: int) -> float | None:
    """Train with Adam and a one-cycle learning rate; return the accuracy on a held-out twentieth of the images.

    It uses its own random generator and may be called under ``no_grad`` or autocast. It returns None if there are too
    few images to hold any out.
    """
    log.info(
        "training the classifier of features=classifier on %s: %s, epochs=%d",
        images.name, counted(len(images), "image"), epochs,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    held, kept = torch.randperm(len(images), generator=generator).tensor_split([min(5000, len(images) // 20)])
    device = next(net.parameters()).device
    batch = min(BATCH, len(kept))
    steps = len(kept) // batch
    optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=epochs * steps)
    net.train()
    with exact(), torch.enable_grad():
        for epoch in range(epochs):
            loss_sum = torch.zeros((), device=device)
            order = kept[torch.randperm(len(kept), generator=generator)]
            for rows in order[: steps * batch].view(steps, batch):
                x, y = _gather(images, rows, device)
                loss = F.cross_entropy(net(scaled(x)), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                loss_sum += loss.detach()
            if (epoch + 1) % max(1, epochs // 3) == 0:
                log.info("classifier epoch %d/%d: loss %.4f", epoch + 1, epochs, loss_sum.item() / steps)
    net.eval()
    with exact():
        batches = [_gather(images, rows, device) for rows in held.split(500)]
        right = sum((net(scaled(x)).argmax(1) == y).sum().item() for x, y in batches)
    if not len(held):
        return None
    log.info("classifier: %.2f %% accuracy on %d held-out images", 100 * right / len(held), len(held))
    return right / len(held)


def _gather(images: Images, rows: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    index = np.sort(rows.numpy())  # sorted, because pixels may be memory-mapped
    x, y = torch.from_numpy(images.pixels[index]), torch.from_numpy(np.asarray(images.labels)[index])
    return x.to(device), y.to(device)


def scaled(images: Tensor) -> Tensor:
    """Convert uint8 images to float32 in [-1, 1], channels last."""
    return images.to(torch.float32, memory_format=torch.channels_last) / 127.5 - 1


def _save(path: Path, net: nn.Sequential, accuracy: float | None) -> None:
    state = {name: value.cpu() for name, value in net.state_dict().items()}
    try:
        with replacing(path) as temporary:
            torch.save({"state": state, "held_out_accuracy": accuracy}, temporary)
    except (OSError, RuntimeError) as error:  # torch.save turns a full disk into a RuntimeError
        log.warning("the classifier could not be cached in %s and will be trained again next time: %s", path, error)


def _load(path: Path, net: nn.Sequential) -> dict[str, Any] | None:
    """Load the cached weights into ``net`` and return the facts saved with them; None if there are none."""
    if not path.exists():
        return None
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        net.load_state_dict(saved["state"])
        return {"held_out_accuracy": saved["held_out_accuracy"]}
    except (OSError, EOFError, RuntimeError, KeyError, TypeError, AttributeError, pickle.UnpicklingError) as error:
        log.warning("the cached classifier %s is damaged (%s): training it again", path, str(error).split("\n")[0])
        return None
