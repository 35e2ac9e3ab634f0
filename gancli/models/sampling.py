"""Sampling from a model in batches, and the labels to sample for."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from gancli.data.source import Images
from gancli.data.spec import quantise
from gancli.errors import TrainingDiverged, UsageError
from gancli.models.base import Model
from gancli.models.shares import Crew, Passing, Share


@torch.no_grad()
def draw(
    model: Model, n: int, *, seed: int, batch_size: int, labels: Tensor | None = None, wait: bool = True,
    autocast: Callable[[], AbstractContextManager] = nullcontext, share: Share | None = None,
) -> Iterator[tuple[Tensor, Tensor | None]]:  # fmt: skip
    """Sample n images in batches, with their labels; the result depends only on the seed, batch size and labels.

    Args:
        model: the model to sample from.
        n: number of images.
        seed: seed of the latents.
        batch_size: images per batch.
        labels: labels for a conditional model, (n,) int64, from class_labels() or labels_like(); or None.
        wait: check every batch before it is yielded; False: check all after the last, so that none waits for the
            device.
        autocast: makes the context in which the model computes.
        share: the batches of this process, if several draw together; each is what it would be without the others.

    Yields:
        Images (b, C, H, W) uint8 on the model's device, and labels (b,) int64 there or None.

    Points are (b, D, 1, 1) float32.

    Raises:
        TrainingDiverged: an image is not finite, which its bytes would not show.
    """
    finite = torch.ones((), dtype=torch.bool, device=model.device)
    generator = torch.Generator(model.device).manual_seed(seed)

    def sample(size: int, label: Tensor | None) -> Tensor:
        return model.sample(size, label=label, generator=generator)

    def skip(size: int, label: Tensor | None) -> None:
        model.skip(size, label=label, generator=generator)

    part = Passing(sample, skip, [generator], share, f"{type(model).__name__}.sample()")
    for start in range(0, n, batch_size):
        size = min(batch_size, n - start)
        label = None if labels is None else labels[start : start + size].to(model.device)
        with autocast():
            images = part(size, label)
        if images is None:
            continue
        finite &= images.isfinite().all()
        if wait:
            _check(finite)
        yield finished(model, images), label
    _check(finite)


def draw_together(
    model: Model, n: int, *, seed: int, batch_size: int, labels: Tensor | None, crew: Crew
) -> Iterator[Tensor]:
    """Yield the images of draw(), on the CPU, in the first of several processes; the others compute theirs for it.

    Raises:
        TrainingDiverged: see draw().
        RankLost: another process has ended.
    """
    own = draw(model, n, seed=seed, batch_size=batch_size, labels=labels, share=crew.share())
    return crew.in_turns((images.cpu() for images, _ in own), -(-n // batch_size))


def _check(finite: Tensor) -> None:
    if not finite:
        raise TrainingDiverged("the model generates images that are not finite; use an earlier checkpoint")


def class_labels(model: Model, n: int, label: int | None = None) -> Tensor | None:
    """Return n labels, (n,) int64: ``label`` for all, or the classes in turn; None for unconditional models.

    Raises:
        UsageError: the label is out of range, or the model is unconditional.
    """
    classes = model.spec.num_classes
    if not model.conditional:
        if label is not None:
            raise UsageError(
                f"label={label}: {type(model).__name__} is unconditional; remove label, or train a "
                "conditional model, such as model=cgan"
            )
        return None
    if label is None:
        return torch.arange(n) % classes
    if not 0 <= label < classes:
        raise UsageError(f"label={label}: the model was trained on {classes} classes, 0 to {classes - 1}")
    return torch.full((n,), label)


def labels_like(model: Model, data: Images, n: int, *, seed: int) -> Tensor | None:
    """Sample n labels, (n,) int64, with the class frequencies of a split; None for unconditional models.

    Raises:
        UsageError: the split has no classes, or not the same number as the model.
    """
    if not model.conditional:
        return None
    if data.labels is None or data.spec.num_classes != model.spec.num_classes:
        raise UsageError(
            f"{type(model).__name__} samples with the class frequencies of {data.name}, but {data.name} has "
            f"{data.spec.num_classes} classes and the model {model.spec.num_classes}: choose the model's own data"
        )
    rows = torch.randint(len(data), (n,), generator=torch.Generator().manual_seed(seed))
    return torch.from_numpy(data.labels)[rows]


def columns(model: Model, n: int) -> int | None:
    """Return the number of columns of a grid of n images with class_labels(): one per class.

    None stands for a square, used if there are no classes or more classes than images.
    """
    classes = model.spec.num_classes
    return classes if model.conditional and n >= classes else None


def finished(model: Model, images: Tensor) -> Tensor:
    """Return images as bytes, the form that files and metrics use; points stay as they are."""
    return images if model.spec.points else quantise(images)
