"""What a model says of the real images: its nats and the like, and its reconstructions as images of their own."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gancli.data.spec import quantise
from gancli.errors import UsageError
from gancli.metrics.base import MODEL, RECONSTRUCTED, Batch, Metric, Statistic
from gancli.metrics.features import Images, exact
from gancli.metrics.regrouped import slice_of
from gancli.models.held_out import HeldOut
from gancli.models.shares import Crew

SETS = (MODEL, RECONSTRUCTED)
PICTURES = "pictures"  # what a model is asked for the second
Seen = Callable[[Tensor, Tensor | None, Iterable[Any]], Batch]


class Said(NamedTuple):
    """What a model says of a batch of images."""

    answers: dict[str, Tensor]  # by name, see HeldOut.ask()
    pictures: Batch | None  # its reconstructions

    def to(self, device: torch.device | str) -> "Said":
        """Return the same on a device."""
        moved = {name: each.to(device) for name, each in self.answers.items()}
        return Said(moved, self.pictures and self.pictures.to(device))


def check(metric: Metric, likelihood: HeldOut | None, what: str) -> None:
    """Refuse ``what``, whose likelihood is given, if it does not say what a metric needs. Raises UsageError."""
    said = likelihood.says if likelihood else {}
    lacking = [each.asked_of for each in metric.needs.get(MODEL, ()) if each.asks not in said]
    if RECONSTRUCTED in metric.needs and PICTURES not in said:
        lacking.append(Statistic.asked_of)
    if lacking:
        raise UsageError(f"metrics: {metric.name} needs {lacking[0]}, but {what} is none")


def ask(
    likelihood: HeldOut, reference: Images, found: Mapping[str, Mapping[type[Statistic], Any]], seen: Seen, *,
    batch_size: int, device: torch.device, watch: Callable[[str, int, int], None], crew: Crew,
) -> None:  # fmt: skip
    """Ask a model of every real image, and add what it says to statistics, in the images' order.

    Args:
        likelihood: says it.
        reference: the real images.
        found: statistics of SETS; only those of the first process are added to.
        seen: returns images (N, C, H, W) uint8 and labels with the features that some statistics need.
        batch_size: images at a time.
        device: of the model.
        watch: is told how many images are done.
        crew: processes that share the images.

    Raises:
        RankLost: another process has ended.
    """
    starts = range(0, len(reference), batch_size)
    own = _answers(likelihood, reference, found, seen, batch_size=batch_size, device=device, crew=crew)
    for start, said in zip(starts, crew.in_turns(own, len(starts))):
        stop = min(len(reference), start + batch_size)
        pixels, labels = slice_of(reference, start, stop)
        answers, pictures = said if crew.world == 1 else said.to(device)
        if pictures is not None:
            for statistic in found[RECONSTRUCTED].values():
                statistic.add(pictures)
        nats, also = answers.get("nats"), {name: each for name, each in answers.items() if name != "nats"}
        batch = Batch(pixels, None, None, labels, nats, likelihood, also=also)
        for statistic in found[MODEL].values():
            statistic.add(batch)
        watch("likelihood of images", stop, len(reference))


def _answers(
    likelihood: HeldOut, reference: Images, found: Mapping[str, Mapping[type[Statistic], Any]], seen: Seen, *,
    batch_size: int, device: torch.device, crew: Crew,
) -> Iterator[Said]:  # fmt: skip
    """Yield what the model says of the batches of this process, on the CPU if there are others."""
    again, share = found[RECONSTRUCTED].values(), crew.share()
    names = {each.asks for each in found[MODEL]} | ({PICTURES} if again else set())
    parts = {name: likelihood.part(name, share) for name in sorted(names)}
    for start in range(0, len(reference), batch_size):
        pixels, labels = slice_of(reference, start, min(len(reference), start + batch_size))
        image = pixels.to(device).float().div_(127.5).sub_(1.0)
        label = None if labels is None else labels.to(device)
        with exact():  # TF32 would change the third digit of nats
            asked = {name: part(image, label) for name, part in parts.items()}
        answers = {name: each for name, each in asked.items() if each is not None}
        if answers:
            pictures = seen(quantise(answers.pop(PICTURES)), labels, again) if again else None
            said = Said(answers, pictures)
            yield said if crew.world == 1 else said.to("cpu")
