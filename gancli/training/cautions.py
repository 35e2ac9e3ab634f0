"""Settings that work, and rarely do what was hoped for: batches and data sets that are too small for what is asked."""

from collections.abc import Iterator

from torch import nn

from gancli.data.source import Images
from gancli.errors import UsageError
from gancli.losses.base import Loss
from gancli.losses.stabilizers import Stabilizer
from gancli.models.base import Model

FEW = 4  # images of a batch; with fewer, batch norm's statistics are mostly noise


def cautions(model: Model, loss: Loss, images: Images, batch_size: int, forward: int) -> list[str]:
    """Return one line for each thing that so few images do not allow.

    Args:
        model: what is trained.
        loss: how.
        images: the training images.
        batch_size: images of a batch.
        forward: images that go through the networks together: ``batch_size / accumulate``, on one process.

    Raises:
        UsageError: batch norm of units is given one image, whose variance is no number.
    """
    lines = []
    averaging = [layer for layer in _norms(model) if layer.track_running_stats]
    if forward == 1 and any(isinstance(layer, nn.BatchNorm1d) for layer in averaging):
        raise UsageError(
            "batch norm is given one image at a time, and one has no variance: add batch_size=64, or lower accumulate"
        )
    if forward < FEW and averaging:
        lines.append(
            f"batch norm with {forward} image{'s' * (forward > 1)} at a time: means and variances of so few are noise, "
            "and samples are drawn with their averages (Wu & He 2018, Group Normalization, figure 1); raise batch_size"
        )
    if images.fresh is None and batch_size > len(images):
        lines.append(f"batch_size={batch_size} is more than the {len(images)} training images: batches repeat them")
    stabilizers = (each for each in loss.modules() if isinstance(each, Stabilizer))
    told = (each.warning(len(images)) for each in stabilizers) if images.fresh is None else ()
    return lines + [line for line in told if line]


def _norms(model: Model) -> Iterator[nn.modules.batchnorm._BatchNorm]:
    return (layer for layer in model.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm))
