"""Augmentation of all images that a discriminator sees, so that it cannot memorise a small data set.

Real and generated images are augmented in the updates of both players, and the generator's gradient passes through the
augmentation. If only real images were augmented, the generator would learn to imitate the augmentations. Motions are
the same for both images of a pair; the colours of the source, which is never generated, do not change.

    gancli train model=dcgan data=digits stabilizer=diffaugment
    gancli train model=dcgan data=digits stabilizer=ada
    gancli train model=dcgan data=digits stabilizer=augment
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Annotated, Literal

import torch
from torch import Tensor

from gancli.losses.stabilizers import Stabilizer
from gancli.nn import augment, ranks
from gancli.nn.annealed import Annealed, bounds, value
from gancli.ranges import Positive

POLICY = {"color": augment.jitter, "translation": augment.translated, "cutout": augment.cut_out}
PIPE = {"geometry": augment.geometry, "color": augment.colour}
CHANCES = {**PIPE, "cutout": augment.maybe_cut_out}
FEW = 100  # training images, the fewest that augmentation was shown to help with (Zhao et al. 2020, 100-shot)
MOTIONS = ("translation", "cutout", "geometry")  # the others change colours


class DiffAugment(Stabilizer):
    """Zhao et al. 2020, Differentiable Augmentation for Data-Efficient GAN Training.

    Args:
        policy: the transformations of every image, applied in the given order: ``color`` (brightness, saturation,
            contrast), ``translation`` (by up to 1/8 of a side), ``cutout`` (half a side).

    Raises:
        ValueError: the policy is empty.
    """

    def __init__(self, policy: list[Literal["color", "translation", "cutout"]]) -> None:
        super().__init__()
        if not policy:
            raise ValueError(f"policy is empty; name one or more of {', '.join(POLICY)}")
        self.policy = policy

    def image(self, image: Tensor, progress: Tensor | None = None) -> Tensor:
        for name in self.policy:
            image = POLICY[name](image)
        return image

    def pairs(
        self, source: Tensor, images: Sequence[Tensor], progress: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        return _paired({name: POLICY[name] for name in self.policy}, source, images)


class ADA(Stabilizer):
    """Karras et al. 2020, Training Generative Adversarial Networks with Limited Data: adaptive augmentation.

    Each transformation is applied to each image with probability p. A discriminator that memorises the training images
    classifies more and more of them as real, so p rises while r = E sign D(real) is above the target and falls
    otherwise, by 1 per ``speed`` images. p and the counts since its last change, over the images of all processes, are
    saved with the loss.

    Deviations: one bilinear resampling instead of the paper's, which filters at twice the resolution; images are
    mirrored at their borders as often as it takes (the release: once, with zeros beyond); penalties are taken on slopes
    at the images as the discriminator sees them.

    Args:
        target: target of r, in [-1, 1].
        speed: number of images in which p can rise from 0 to 1.
        interval: discriminator updates between changes of p.
        transforms: ``geometry`` (flips, rotations, shifts, scaling), ``color`` (brightness, contrast, luma, hue,
            saturation).

    Raises:
        ValueError: there are no transformations.
    """

    calibrated = True
    p: Tensor  # () float32, the probability of each transformation
    signs: Tensor
    seen: Tensor
    updates: Tensor

    def __init__(
        self,
        target: Annotated[float, ">= -1", "<= 1"] = 0.6,
        speed: Positive = 500_000,
        interval: Positive = 4,
        transforms: list[Literal["geometry", "color"]] | None = None,
    ) -> None:
        super().__init__()
        self.target, self.speed, self.interval = target, speed, interval
        self.transforms = list(PIPE) if transforms is None else transforms
        if not self.transforms:
            raise ValueError(f"transforms is empty; name one or more of {', '.join(PIPE)}")
        self.nondeterministic = _nondeterministic(self.transforms)
        for name in ("p", "signs", "seen", "updates"):
            self.register_buffer(name, torch.zeros(()))

    def image(self, image: Tensor, progress: Tensor | None = None) -> Tensor:
        for name in self.transforms:
            image = PIPE[name](image, self.p)
        return image

    def pairs(
        self, source: Tensor, images: Sequence[Tensor], progress: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        return _paired({name: partial(PIPE[name], p=self.p) for name in self.transforms}, source, images)

    def warning(self, images: int) -> str | None:
        if images >= FEW:
            return None
        return (
            f"stabilizer=ada with {images} training images: the smallest set of Karras et al. 2020, MetFaces, has "
            "1,336; a discriminator remembers so few however they are augmented: expect copies of them"
        )

    @torch.no_grad()
    def observe(self, score: Tensor) -> dict[str, Tensor]:
        self.signs += ranks.total(score.sign().sum())
        self.seen += len(score) * ranks.parts()
        self.updates += 1
        r = self.signs / self.seen
        due = self.updates >= self.interval
        step = (r - self.target).sign() * self.seen / self.speed
        self.p.copy_(torch.where(due, (self.p + step).clamp(0, 1), self.p))
        for each in (self.signs, self.seen, self.updates):
            each *= ~due
        return {"ada/p": self.p.clone(), "ada/r": r}


class Augment(Stabilizer):
    """Augmentation as in ADA with a probability that is given rather than adapted, as in R3GAN (Huang et al. 2024).

    It needs no scores with a threshold, so that it suits relativistic losses.

    Args:
        p: probability of each transformation.
        transforms: ``geometry`` and ``color`` (see ADA) and ``cutout`` (half a side), in the given order, and the
            factor of p for each.

    Raises:
        ValueError: there are no transformations, an unknown one, or a number outside [0, 1].
    """

    def __init__(self, p: float | Annealed, transforms: dict[str, float]) -> None:
        super().__init__()
        if not transforms or not set(transforms) <= set(CHANCES):
            raise ValueError(f"transforms={list(transforms)} must be one or more of {', '.join(CHANCES)}")
        if not all(0 <= each <= 1 for each in (*bounds(p), *transforms.values())):
            raise ValueError(f"p={p} and the factors of transforms={transforms} must be from 0 to 1")
        self.p, self.transforms = p, transforms
        self.nondeterministic = _nondeterministic(transforms)

    def image(self, image: Tensor, progress: Tensor | None = None) -> Tensor:
        for change in self._changes(image, progress).values():
            image = change(image)
        return image

    def pairs(
        self, source: Tensor, images: Sequence[Tensor], progress: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        return _paired(self._changes(source, progress), source, images)

    def _changes(self, like: Tensor, progress: Tensor | None) -> dict[str, Callable[[Tensor], Tensor]]:
        p = value(self.p, like.new_zeros(()) if progress is None else progress) + like.new_zeros(())
        return {name: partial(CHANCES[name], p=factor * p) for name, factor in self.transforms.items()}


def _nondeterministic(transforms: Iterable[str]) -> str | None:
    return "the backward pass of grid_sample" if "geometry" in transforms else None


def _paired(
    changes: dict[str, Callable[[Tensor], Tensor]], source: Tensor, images: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Apply changes in order: the same motion to all images of a pair, separate colours to all but the source."""
    pictures = [source, *images]
    for name, change in changes.items():
        if name in MOTIONS:
            pictures = change(torch.cat(pictures, 1)).split([each.shape[1] for each in pictures], 1)
        else:
            pictures = [pictures[0], *(change(each) for each in pictures[1:])]
    return pictures[0], list(pictures[1:])
