"""Whether a checkpoint is as gancli wrote it: the bytes of the file, and the structure of what it holds."""

import zipfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gancli import structure
from gancli.structure import Misshapen

if TYPE_CHECKING:  # a fault is found before torch is imported
    from torch import Tensor, nn

LARGEST_SIDE = 2**20  # channels, pixels of a side, classes and levels that a spec may state
SPEC = {
    "channels": int, "height": int, "width": int, "num_classes?": int, "source_channels?": int, "levels?": int,
    "paired?": bool, "dequantised?": bool, "nominal?": bool, "points?": bool,
}  # fmt: skip


def fault(file: Path) -> str | None:
    """Return what is wrong with the bytes of a checkpoint file; None: nothing.

    A checkpoint is a zip without compression, whose members have checksums that torch does not compare.
    """
    try:
        stat = file.stat()
        return _fault(file, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        return error.strerror or str(error)


@cache
def _fault(file: Path, modified: int, size: int) -> str | None:
    try:
        if not zipfile.is_zipfile(file):  # a bare pickle is never opened
            return "it is truncated, or gancli did not write it"
        with zipfile.ZipFile(file) as archive:
            if any(each.compress_type != zipfile.ZIP_STORED for each in archive.infolist()):
                return "it is compressed, which gancli's checkpoints are not"
            if sum(each.file_size for each in archive.infolist()) > size:
                return "it states more bytes than the file has"
            bad = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, NotImplementedError) as error:
        return " ".join(str(error).split()) or type(error).__name__
    return bad and f"the checksum of {bad} is wrong"


def check_state(state: dict[str, Any]) -> None:
    """Check the structure of a loaded checkpoint.

    Raises:
        Misshapen: naming the first entry that gancli would not have written.
    """
    from torch import Tensor

    images = {"images": int, "sha256?": str, "sample?": str}
    tensors, loader = {str: Tensor}, {"seed": int, "given": int, "size": int, "flips": Tensor, "source?": dict}
    rng = {"cpu": Tensor, "cuda": [Tensor]}
    shape = {
        "config": str, "spec": SPEC, "classes?": [str], "images": int, "share?": float, "reached?": float, "turn?": int,
        "model": tensors, "ema": tensors, "ema_images?": int, "optimizers": {str: {"optimizer": dict, "updates": int}},
        "loss": {str: object}, "rng": rng, "loader": loader,
        "metrics": {"best": (float, None)}, "versions": {str: str}, "data?": images,
        "pending?": tensors, "owed?": [str], "ranks?": [{"rng": rng, "loader": loader, "loss": tensors}],
        "earlier_data?": [{**images, "until": int}],
    }  # fmt: skip
    structure.check(state, shape)
    counts = {name: state.get(name, 0) for name in ("images", "turn", "ema_images")}
    counts |= {f"loader.{name}": state["loader"][name] for name in ("seed", "given", "size")}
    for name, value in counts.items():
        if value < 0:
            raise Misshapen(f"{name}: expected 0 or more")
    for name, values in state.get("pending", {}).items():
        if values.ndim != 1 or not values.is_floating_point():
            raise Misshapen(f"pending.{name}: expected a list of numbers")
    for name, mean in state["ema"].items():  # it is sampled from in place of the weights, which nobody would look at
        own = state["model"].get(name)
        if own is None or (own.shape, own.dtype) != (mean.shape, mean.dtype):
            raise Misshapen(f"ema.{name}: expected the size and type of model.{name}")
    known = {key.removesuffix("?") for key in SPEC}
    if unknown := state["spec"].keys() - known:
        raise Misshapen(f"spec.{min(unknown)}: no such key")
    for name, value in state["spec"].items():
        least = int(name in ("channels", "height", "width", "levels"))
        if not least <= value <= LARGEST_SIDE:
            raise Misshapen(f"spec.{name}: expected {least} to {LARGEST_SIDE:,}")


def check_size(build: "Callable[[], nn.Module]", weights: "Mapping[str, Tensor]") -> None:
    """Refuse a model that is larger than its weights, before memory is asked for.

    Networks whose constructor reads values back cannot be built without memory (torch's device ``meta``); their sizes
    are compared when their weights are loaded.

    Raises:
        ValueError: it has more numbers than there are weights.
    """
    import torch

    from gancli.training.unfilled import Unfilled

    with suppress(RuntimeError, NotImplementedError), torch.device("meta"), Unfilled():
        size = sum(each.numel() for each in build().state_dict().values())
        if size > sum(each.numel() for each in weights.values()):
            raise ValueError(f"it has {size:,} numbers, and more than there are weights")


def load_weights(module: "nn.Module", weights: "Mapping[str, Tensor]") -> None:
    """Load weights, which have to be of the module's own types: torch would convert them, complex ones too.

    Raises:
        ValueError: a tensor has another type.
        RuntimeError: a tensor is missing, unknown, or has another shape.
    """
    own = module.state_dict()
    for name, tensor in weights.items():
        if name in own and tensor.dtype != own[name].dtype:
            raise ValueError(f"{name} is {tensor.dtype}, and the model's is {own[name].dtype}")
    module.load_state_dict(weights)
