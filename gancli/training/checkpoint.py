"""One safe file per checkpoint: tensors and plain types only, written aside and renamed; loading runs no code."""

import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gancli.errors import UsageError
from gancli.files import TEMPORARY, replacing

if TYPE_CHECKING:  # `find` answers before torch is imported
    import torch

    from gancli.data.spec import ImageSpec
    from gancli.models.base import Model

FORMAT = "gancli-2"
READ = (FORMAT, "gancli-1")  # 1 lacks share, turn and ema_images
FOLDER = "checkpoints"
BEST = "best.pt"
DAMAGED = (LookupError, TypeError, ValueError, AttributeError, AssertionError, ArithmeticError)  # what bad bytes raise


class Checkpoint(NamedTuple):
    """A loaded checkpoint."""

    path: Path
    config: Any  # DictConfig, resolved; its ``trust`` is empty
    spec: "ImageSpec"
    images: int
    state: dict[str, Any]  # everything that was saved

    @property
    def classes(self) -> list[str]:
        """Names of the classes, or of the domains; empty: the data have none."""
        return self.state.get("classes", [])


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; a crash at any moment leaves the old file or the new one, never half of one.

    Raises:
        OSError: the disk is full or not writable; the temporary file is gone and the old checkpoint untouched.
    """
    import torch

    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            torch.save({"format": FORMAT, **state}, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):  # torch hides a full disk behind its own complaint about the file
            raise error.__context__ from None
        raise


def name(images: int) -> str:
    """Return the file name at so many images: sorted by name is sorted by time."""
    return f"{images:012d}.pt"


def numbered(run: Path) -> list[Path]:
    """Return a run's checkpoints, oldest first, ``best.pt`` not among them."""
    return sorted(p for p in (run / FOLDER).glob("*.pt") if p.stem.isdigit())


def prune(run: Path, keep: int) -> None:
    """Remove all but the newest ``keep`` checkpoints, and what a killed save left behind."""
    for path in numbered(run)[:-keep]:
        path.unlink()
    for path in (run / FOLDER).glob(f".*{TEMPORARY}"):
        path.unlink()


def find(path: str | Path) -> Path:
    """Return the checkpoint file that a run folder or a file name means: of a run, the newest readable one.

    Raises:
        UsageError: there is no such path, or the folder holds no checkpoint.
    """
    path = Path(path).expanduser()
    if path.is_file():
        return path
    if not path.exists():
        raise UsageError(f"no checkpoint or run folder at {path}; give a run folder of outputs/ or a .pt file")
    folder = path.parent if path.name == FOLDER else path
    for file in reversed(numbered(folder)):
        if zipfile.is_zipfile(file):  # a damaged newest file must not cost the run
            return file
    raise UsageError(f"no checkpoint in {folder / FOLDER}; a run writes its first after checkpoint.every images")


def run_dir(path: str | Path) -> Path:
    """Return the folder that a checkpoint's evaluations and samples go to: its run, or the folder it lies in."""
    file = find(path)
    return file.parent.parent if file.parent.name == FOLDER else file.parent


def load(path: str | Path, device: "str | torch.device" = "cpu") -> Checkpoint:
    """Read a checkpoint, running none of its contents.

    Raises:
        UsageError: missing, unreadable, not a gancli checkpoint, of another format, or holding more than plain data.
    """
    import pickle

    import torch

    from gancli.config import from_yaml
    from gancli.data.spec import ImageSpec

    file = find(path)
    if not zipfile.is_zipfile(file):  # bare pickles are not even looked into
        raise UsageError(f"{file} cannot be read as a checkpoint: it is cut short, or no file that gancli wrote")
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of foreign pickles
            state = torch.load(file, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).split(". ")[0].splitlines()[0]
        raise UsageError(f"{file} is refused: it holds more than tensors and plain types ({reason})") from error
    except (*DAMAGED, RuntimeError, EOFError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(f"{file} cannot be read as a checkpoint: {reason}") from error
    found = state.get("format") if isinstance(state, dict) else None
    if found not in READ:
        what = f"format {found!r}" if found else "no gancli checkpoint"
        raise UsageError(f"{file} is {what}; this gancli reads {FORMAT!r}: take the gancli that wrote it")
    try:
        config = from_yaml(state["config"])
        config.trust = []  # what a file says of its own trustworthiness counts for nothing
        _ = state["model"] | state["ema"]  # a changed byte in a key leaves the rest readable
        _ = "".join(state.get("classes", []))  # names
        return Checkpoint(file, config, ImageSpec(**state["spec"]), int(state["images"]), state)
    except DAMAGED as error:
        raise UsageError(f"{file} is an incomplete checkpoint: {type(error).__name__} {error}") from error


def load_config(path: str | Path) -> str:
    """Return the resolved config of a checkpoint as YAML text."""
    return load(path).state["config"]


def rebuild(
    ckpt: Checkpoint | str | Path,
    *,
    ema: bool = True,
    device: "str | torch.device" = "cpu",
    trust: Sequence[str] = (),
) -> "Model":
    """Build the model of a checkpoint with its weights, in eval mode, without gradients.

    Args:
        ckpt: a loaded checkpoint, a file or a run folder.
        ema: take the moving average where the checkpoint has one.
        device: where the model goes.
        trust: packages outside gancli whose classes may be built.

    Raises:
        UsageError: unreadable, or its model is not to be trusted, or its weights do not fit.
    """
    from gancli.config import instantiate
    from gancli.models.base import Model

    if not isinstance(ckpt, Checkpoint):
        ckpt = load(ckpt)
    model = instantiate(ckpt.config.model, Model, trust=trust, spec=ckpt.spec)
    weights = ckpt.state["model"] | (ckpt.state["ema"] if ema else {})
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UsageError(f"{ckpt.path}: its weights do not fit its model: {reason}") from error
    model.enter(model.stage(float(ckpt.state.get("share", 1.0))))
    return model.to(device).eval().requires_grad_(False)
