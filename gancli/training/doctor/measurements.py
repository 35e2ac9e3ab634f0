"""The doctor's measurements: a few scalars per examination, computed on the device without synchronisation.

Almost all are proportions or ratios, so that they are comparable across losses and kinds of images. ``spread``,
``nearest``, ``duplicates`` and ``classes`` compare generated images with each other, and ``copies`` and ``distance``
compare them with training images; ``auc``, ``known``, ``surprise`` and ``feedback`` describe the discriminator's
scores. ``rules.py`` interprets them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from gancli.data.levels import binarized
from gancli.data.source import Images, permutation
from gancli.data.spec import Batch, scaled
from gancli.losses.base import Loss
from gancli.losses.game import AdversarialLoss
from gancli.metrics.neighbours import radii
from gancli.models.base import Adversarial, Model
from gancli.training.doctor.attempts import Attempt, attempted
from gancli.training.runtime import Runtime
from gancli.training.stopping import interruptible

PREFIX = "doctor/"
Measured = dict[str, Callable[[], Tensor]]
N = 128  # generated images per examination, and as many real ones
N_LIKELIHOOD = 64  # images whose likelihood is computed; the forward pass dominates the step of such models
KNOWN = 2048  # training images that generated images are compared with
FEWEST = 16  # images are not compared if there are fewer training images
SIDE = 16  # pixels; distances are computed on images averaged down to this size, which bounds their cost
SAME = (
    0.2  # two generated images closer than this share of the median distance between nearest real ones are duplicates
)
COPY = 0.2  # an image is a copy if closer to a training image than this share of that one's nearest-neighbour distance
PER_CLASS = 8  # real images per class, for conditional models


class Measurements:
    """Measurements of one model.

    Args:
        model: the model in training.
        loss: its loss.
        train: the training split.
        held_out: the validation split, or None.
        machine: device and precision.
        batch_size: maximum number of images per forward pass, as in training.
    """

    def __init__(
        self, model: Model, loss: Loss, train: Images, held_out: Images | None, machine: Runtime, batch_size: int
    ) -> None:
        self.model, self.loss, self.machine, self.batch_size = model, loss, machine, batch_size
        self.adversarial = self.grouped = False
        if loss.has_players:
            self.gan, self.game = cast(Adversarial, model), cast(AdversarialLoss, loss.game)
            self.adversarial, self.grouped = True, model.conditional
        rows = _choice(train, self.grouped)
        images, labels = _taken(train, rows, machine.device)
        n = self._whole(min(N, len(rows)))
        self.real = Batch(images[:n], None if labels is None else labels[:n])
        self.held_out = None
        if held_out is not None and len(held_out) > 1:
            some = permutation(len(held_out), 0)[: self._whole(min(N, len(held_out)))]
            self.held_out = Batch(*_taken(held_out, some, machine.device))
        self.pictures = self.adversarial and len(rows) >= FEWEST
        if self.pictures:
            self._know(images, labels, 0 if self.grouped else train.spec.num_classes)
            share = len(rows) / len(train)
            # Points come close to each other by chance, and freshly drawn data cannot be memorised.
            self.known_share = None if train.spec.points or train.fresh else share

    def __call__(self, progress: float) -> dict[str, Tensor | Exception]:
        """Return ``doctor/<name>`` scalars on the device; weights, buffers and random states are left unchanged.

        What cannot be computed is the exception that says why; the others do not depend on it.

        Args:
            progress: completed share of the run, from 0 to 1.

        Raises:
            Stopped: a signal asks to stop.
        """
        weights: list[Tensor] = list(self.model.parameters())
        with torch.no_grad(), self.machine.undisturbed(), unchanged(self.model, self.loss), interruptible():
            found: Measured = {"largest_weight": lambda: torch.stack(torch._foreach_norm(weights, torch.inf)).max()}
            found |= self._game(progress) if self.adversarial else self._likelihood()
            return {PREFIX + name: value for name, value in attempted(found).items()}

    def _whole(self, n: int) -> int:
        """Round n down to full forward passes: batch norm fails on a remainder of a single image."""
        return n if n < self.batch_size else n - n % self.batch_size

    def _know(self, images: Tensor, labels: Tensor | None, classes: int) -> None:
        """Compute the reference statistics of real images, once before the first step."""
        self.known, self.known_labels = flat(images), labels
        self.own = radii(self.known, 1).sqrt().float()  # (M,): distance of each to its nearest neighbour
        n = len(self.real.image)
        self.pairs = ~torch.eye(n, dtype=torch.bool, device=images.device)  # (N, N): which pairs are compared
        if self.grouped:
            assert self.real.label is not None  # a conditional model is trained on labelled data
            self.pairs &= self.real.label[:, None] == self.real.label
        self.real_spread, nearest = self._crowd(self.known[:n])
        self.real_nearest = nearest.median()
        self.classes = torch.arange(classes, device=images.device) if labels is not None else None
        self.real_classes = self._effective(labels[:n]) if classes and labels is not None else None

    def _game(self, progress: float) -> Measured:
        """Measure discriminator and generator on images sampled as in training."""
        done = torch.full((), progress, device=self.machine.device)
        drawn = Attempt(lambda: torch.cat([self._generated(each) for each in self._parts(self.real)]))
        real = Attempt(lambda: self._score(self.gan.present(self.real), done))
        generated = Attempt(lambda: self._score(self.real._replace(image=drawn()), done))
        found: Measured = {
            "auc": lambda: ahead(real(), generated()),
            "surprise": lambda: self._surprise(real(), generated()),
            "feedback": lambda: self._feedback(real(), generated()),
        }
        if (held_out := self.held_out) is not None:
            found["known"] = lambda: ahead(real(), self._score(self.gan.present(held_out), done))
        return found | (self._compare(Attempt(lambda: flat(drawn()))) if self.pictures else {})

    def _compare(self, fake: Attempt[Tensor]) -> Measured:
        """Compare generated images (N, D) with each other and with training images."""
        crowd = Attempt(lambda: self._crowd(fake()))
        nearest_known = Attempt(lambda: torch.cdist(fake(), self.known).min(1))
        found: Measured = {
            "spread": lambda: crowd()[0] / self.real_spread,
            "nearest": lambda: crowd()[1].median() / self.real_nearest,
            "duplicates": lambda: (crowd()[1] < SAME * self.real_nearest).float().mean(),
            "distance": lambda: nearest_known()[0].median() / self.own.median(),
        }
        if (share := self.known_share) is not None:
            found["copies"] = lambda: (nearest_known()[0] < COPY * self.own[nearest_known()[1]]).float().mean() / share
        if (classes := self.real_classes) is not None and (labels := self.known_labels) is not None:
            found["classes"] = lambda: self._effective(labels[nearest_known()[1]]) / classes
        return found

    def _likelihood(self) -> Measured:
        """Return what the loss measures, and the mean nats of training and held-out images if it defines them."""
        found: Measured = {}
        for name, batch in (("nats", self.real), ("nats_held_out", self.held_out)):
            if batch is not None:
                nats = Attempt(partial(self._nats, batch))
                if nats.error is not None or nats() is not None:
                    found[name] = cast("Attempt[Tensor]", nats)
        return found | self.loss.measurements(self.model, self.real)

    def _nats(self, batch: Batch) -> Tensor | None:
        with self.machine.autocast():
            nats = self.loss.nats(self.model, next(self._parts(batch, N_LIKELIHOOD)))
        return None if nats is None else nats.float().mean()

    def _crowd(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean distance between pairs of images (N, D), (), and from each to its nearest neighbour, (N,)."""
        distance = torch.cdist(images, images)
        mean = torch.where(self.pairs, distance, 0).sum() / self.pairs.sum()
        return mean, torch.where(self.pairs, distance, torch.inf).min(1).values

    def _effective(self, labels: Tensor) -> Tensor:
        """Return the effective number of classes, exp(entropy), of labels (N,)."""
        assert self.classes is not None  # set for labelled data
        return torch.special.entr((labels[:, None] == self.classes).float().mean(0)).sum().exp()

    def _generated(self, like: Batch) -> Tensor:
        with self.machine.autocast():
            return self.gan.generate(self.gan.latent(len(like.image)), like.label).float()

    def _score(self, batch: Batch, progress: Tensor) -> Tensor:
        """Return the discriminator's scores, (N,) float32, with the stabilizers of training applied to the images."""
        scores = []
        for part in self._parts(batch):
            with self.machine.autocast():
                seen = self.game.seen(part.image, part._replace(progress=progress))
                scores.append(self.gan.score(seen, part.label).float())
        return torch.cat(scores)

    def _surprise(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the gradient of the discriminator's loss in the scores, relative to that of an undecided one."""
        undecided = (torch.full_like(each, self.game.threshold) for each in (real, fake))
        pays = self.game.discriminator_loss
        return steepness(pays, (real, fake), (0, 1)) / steepness(pays, tuple(undecided), (0, 1))

    def _feedback(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the gradient of the generator's loss in its scores, relative to that near the threshold."""
        level = torch.full_like(real, self.game.threshold), torch.full_like(fake, self.game.threshold)
        pays = self.game.generator_pays
        # At the threshold or one below it, as some least-squares generators aim at the threshold itself.
        near = torch.stack([steepness(pays, (level[0], level[1] - below), (1,)) for below in (0, 1)]).amax()
        return steepness(pays, (real, fake), (1,)) / near

    def _parts(self, batch: Batch, size: int | None = None) -> Iterator[Batch]:
        """Split a batch into parts of at most ``size`` images, by default the batch size of training."""
        size = min(self.batch_size, size or self.batch_size)
        for start in range(0, len(batch.image), size):
            part = slice(start, start + size)
            yield Batch(batch.image[part], None if batch.label is None else batch.label[part])


def steepness(pays: Callable[..., dict[str, Tensor]], scores: Sequence[Tensor], of: Sequence[int]) -> Tensor:
    """Return sum |dL/ds|, averaged over the scores s at the indices ``of``; L is the sum of ``pays(*scores)``."""
    with torch.enable_grad():
        leaves = [each.detach().requires_grad_() for each in scores]
        total = cast(Tensor, sum(value for value in pays(*leaves).values() if value.requires_grad))
        slopes = torch.autograd.grad(total, [leaves[i] for i in of])
    return torch.stack([each.abs().sum() for each in slopes]).mean()


def flat(images: Tensor) -> Tensor:
    """Average (N, C, H, W) images down to at most SIDE x SIDE pixels, (N, D) float32."""
    height, width = (min(SIDE, size) for size in images.shape[2:])
    return adaptive_avg_pool2d(images.float(), (height, width)).flatten(1)


def ahead(high: Tensor, low: Tensor) -> Tensor:
    """Return the probability that one score of ``high`` exceeds one of ``low`` (the area under the ROC curve)."""
    difference = high[:, None] - low
    return (difference > 0).float().mean() + (difference == 0).float().mean() / 2


@contextmanager
def unchanged(*modules: torch.nn.Module) -> Iterator[None]:
    """Restore the modules' buffers (batch-norm statistics, power iterations) on exit."""
    buffers = [buffer for module in modules for buffer in module.buffers()]
    before = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        for buffer, value in zip(buffers, before):
            buffer.copy_(value)


def _choice(images: Images, grouped: bool) -> np.ndarray:
    """Return a fixed choice of KNOWN indices; if grouped, the first N are PER_CLASS of each class."""
    order = permutation(len(images), 0)
    if not grouped:
        return order[:KNOWN]
    assert images.labels is not None  # a conditional model is trained on labelled data
    labels = images.labels[order]
    groups = [order[labels == each][:PER_CLASS] for each in np.unique(labels)]
    first = np.concatenate([group for group in groups if len(group) > 1][: N // PER_CLASS])
    return np.concatenate([first, order[~np.isin(order, first)]])[:KNOWN]


def _taken(images: Images, rows: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Return images (N, C, H, W) float32 in [-1, 1] and labels (N,) on the device."""
    labels = None if images.labels is None else images.labels[rows]
    some = binarized(replace(images, pixels=np.ascontiguousarray(images.pixels[rows]), labels=labels))
    pixels = scaled(torch.from_numpy(some.pixels).to(device))
    return pixels, None if labels is None else torch.from_numpy(labels).to(device)
