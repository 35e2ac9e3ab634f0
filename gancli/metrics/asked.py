"""What a model says of the real images: its nats and the like, and its reconstructions as images of their own."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from gancli.data.spec import quantise
from gancli.errors import UsageError
from gancli.metrics.base import MODEL, RECONSTRUCTED, Batch, Metric, Statistic
from gancli.metrics.features import Images
from gancli.metrics.regrouped import slice_of
from gancli.models.held_out import HeldOut

SETS = (MODEL, RECONSTRUCTED)
PICTURES = "pictures"  # what a model is asked for the second


def check(metric: Metric, likelihood: HeldOut | None, what: str) -> None:
    """Refuse ``what``, whose likelihood is given, if it does not say what a metric needs. Raises UsageError."""
    said = likelihood.says if likelihood else {}
    lacking = [each.asked_of for each in metric.needs.get(MODEL, ()) if each.asks not in said]
    if RECONSTRUCTED in metric.needs and PICTURES not in said:
        lacking.append(Statistic.asked_of)
    if lacking:
        raise UsageError(f"metrics: {metric.name} needs {lacking[0]}, but {what} is none")


def ask(
    likelihood: HeldOut, reference: Images, found: Mapping[str, Mapping[type[Statistic], Any]],
    seen: Callable[[Tensor, Tensor | None, Iterable[Any]], Batch], *, batch_size: int, device: torch.device,
    watch: Callable[[str, int, int], None],
) -> None:  # fmt: skip
    """Ask a model of every real image, in order, and add what it says to statistics.

    Args:
        likelihood: says it.
        reference: the real images.
        found: statistics of SETS.
        seen: returns images (N, C, H, W) uint8 and labels with the features that some statistics need.
        batch_size: images at a time.
        device: of the model.
        watch: is told how many images are done.
    """
    said, again = found[MODEL].values(), found[RECONSTRUCTED].values()
    names = {each.asks for each in found[MODEL]} | ({PICTURES} if again else set())
    for start in range(0, len(reference), batch_size):
        stop = min(len(reference), start + batch_size)
        pixels, labels = slice_of(reference, start, stop)
        image = pixels.to(device).float().div_(127.5).sub_(1.0)
        label = None if labels is None else labels.to(device)
        answers = {name: likelihood.ask(name, image, label) for name in sorted(names)}
        if again:
            pictures = seen(quantise(answers.pop(PICTURES)), labels, again)
            for statistic in again:
                statistic.add(pictures)
        batch = Batch(pixels, None, None, labels, answers.pop("nats", None), likelihood, also=answers)
        for statistic in said:
            statistic.add(batch)
        watch("likelihood of images", stop, len(reference))
