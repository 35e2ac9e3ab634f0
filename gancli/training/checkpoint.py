"""Checkpoints: one file each, with tensors and plain types only, written atomically; loading one runs no code."""

import logging
import warnings
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gancli import structure
from gancli.errors import UsageError
from gancli.files import TEMPORARY, replacing
from gancli.folders import outputs
from gancli.structure import Misshapen
from gancli.training.integrity import check_size, check_state, fault, load_weights

if TYPE_CHECKING:  # `find` works before torch is imported
    import torch

    from gancli.data.spec import ImageSpec
    from gancli.models.base import Model

log = logging.getLogger("gancli")

FORMAT = "gancli-3"
# Formats that can be read. gancli-1 lacks share, reached, turn and ema_images; for gancli-2 see older.py.
READ = (FORMAT, "gancli-2", "gancli-1")
FOLDER = "checkpoints"
BEST = "best.pt"
LATEST = "latest"  # names the run with the newest checkpoint wherever a run or a checkpoint is named
DAMAGED = (LookupError, TypeError, ValueError, AttributeError, AssertionError, ArithmeticError)  # raised by bad bytes


class Checkpoint(NamedTuple):
    """A loaded checkpoint."""

    path: Path
    config: Any  # DictConfig, resolved; its ``trust`` is empty
    spec: "ImageSpec"
    images: int
    state: dict[str, Any]  # everything that was saved

    @property
    def classes(self) -> list[str]:
        """Names of the classes or domains; empty if the data have none."""
        return self.state.get("classes", [])


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; a crash at any moment leaves the old file or the new one.

    Raises:
        OSError: the disk is full or not writable; the temporary file is removed and the old checkpoint untouched.
    """
    import torch

    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            torch.save({"format": FORMAT, **state}, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):  # torch wraps a full disk in an error of its own
            raise error.__context__ from None
        raise


def name(images: int) -> str:
    """Return the file name of the checkpoint at ``images``; names sort by age."""
    return f"{images:012d}.pt"


def numbered(run: Path) -> list[Path]:
    """Return a run's checkpoints, oldest first, without ``best.pt``."""
    return sorted(p for p in (run / FOLDER).glob("*.pt") if p.stem.isdigit())


def prune(run: Path, keep: int, every: int = 0) -> None:
    """Keep ``keep`` checkpoints, and remove the others and temporary files of killed saves.

    Where there are too many, those of a stop, between two that are due ``every`` so many images, go first and then the
    oldest: a run that was interrupted ends with the files of one that was not. The newest always stays.
    """
    paths = numbered(run)
    before = [0, *(int(path.stem) for path in paths)]
    stopped = [
        path
        for path, last in zip(paths[:-1], before, strict=False)
        if every and last // every == int(path.stem) // every
    ]
    for path in [*stopped, *(path for path in paths if path not in stopped)][: max(0, len(paths) - keep)]:
        path.unlink()
    for path in (run / FOLDER).glob(f".*{TEMPORARY}"):
        path.unlink()


def latest() -> Path:
    """Return the run folder below folders.outputs() with the newest checkpoint.

    Raises:
        UsageError: no run there has a checkpoint yet.
    """
    files = [f for f in outputs().glob(f"**/{FOLDER}/*.pt") if not f.name.startswith(".")]
    if not files:
        raise UsageError(f"latest: no run in {outputs().resolve()} has a checkpoint; train a model with gancli train")
    return max(files, key=lambda f: f.stat().st_mtime_ns).parent.parent


def find(path: str | Path) -> Path:
    """Return the checkpoint file at a path: the file itself, or the newest readable checkpoint of a run folder.

    Args:
        path: a file, a run folder, or ``latest``.

    Raises:
        UsageError: there is no such path, or the folder holds no checkpoint.
    """
    path = latest() if str(path) == LATEST else Path(path).expanduser()
    if path.is_file():
        return path
    if not path.exists():
        raise UsageError(f"no checkpoint or run folder at {path}; name a run folder in outputs/ or a .pt file")
    folder = path.parent if path.name == FOLDER else path
    for file in reversed(numbered(folder)):
        if (wrong := fault(file)) is None:
            return file
        _tell(f"{file} is damaged ({wrong}); taking the checkpoint before it")
    if inner := sorted(file.parent.parent for file in folder.glob(f"*/{FOLDER}/*.pt")):
        raise UsageError(f"{path} holds {len(set(inner))} runs; name one of them, such as {inner[0]}")
    raise UsageError(f"no checkpoint in {folder / FOLDER}; a run writes its first one after checkpoint.every images")


@cache  # a command looks for its checkpoint several times
def _tell(message: str) -> None:
    log.warning("%s", message)


def run_dir(path: str | Path) -> Path:
    """Return the folder for a checkpoint's evaluations and samples: its run folder, or the folder of the file."""
    file = find(path)
    return file.parent.parent if file.parent.name == FOLDER else file.parent


def load(path: str | Path, device: "str | torch.device" = "cpu") -> Checkpoint:
    """Read a checkpoint without running any code from it.

    Raises:
        UsageError: it is missing, unreadable, not a gancli checkpoint, of an unknown format, or holds more than plain
            data.
    """
    import pickle

    import torch

    from gancli.config import from_yaml, plain
    from gancli.data.spec import ImageSpec

    file = find(path)
    if wrong := fault(file):
        raise UsageError(f"{file} cannot be read as a checkpoint: {wrong}")
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # from foreign pickles
            state = torch.load(file, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).split(". ")[0].splitlines()[0]
        raise UsageError(f"{file} is refused: it holds more than tensors and plain types ({reason})") from error
    except (*DAMAGED, RuntimeError, EOFError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(f"{file} cannot be read as a checkpoint: {reason}") from error
    found = state.get("format") if isinstance(state, dict) else None
    if found not in READ:
        what = f"a checkpoint of format {found!r}" if found else "not a gancli checkpoint"
        raise UsageError(f"{file} is {what}; this gancli reads {FORMAT!r}, so use the version that wrote the file")
    try:
        check_state(state)
        config = from_yaml(state["config"])
        config.trust = []  # a file cannot vouch for itself
        structure.check(plain(config), structure.CONFIG, "config")
        return Checkpoint(file, config, ImageSpec(**state["spec"]), state["images"], state)
    except (Misshapen, UsageError) as error:
        raise UsageError(f"{file} is not as gancli writes a checkpoint: {error}") from error


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
    """Build the model of a checkpoint and load its weights, in eval mode and without gradients.

    Args:
        ckpt: a loaded checkpoint, a file or a run folder.
        ema: use the moving average if the checkpoint has one.
        device: device of the model.
        trust: packages outside gancli whose classes may be built.

    Raises:
        UsageError: it is unreadable, its model is not trusted, or its weights do not fit.
    """
    from gancli.config import instantiate
    from gancli.models.base import Model
    from gancli.training.older import renewed

    if not isinstance(ckpt, Checkpoint):
        ckpt = load(ckpt)
    build = partial(instantiate, ckpt.config.model, Model, trust=trust, spec=ckpt.spec)
    weights = ckpt.state["model"] | (ckpt.state["ema"] if ema else {})
    try:
        check_size(build, weights)
        model = build()
        state = renewed(ckpt.state, model)
        load_weights(model, state["model"] | (state["ema"] if ema else {}))
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise UsageError(f"the weights of {ckpt.path} do not fit its model: {reason}") from error
    reached = float(ckpt.state.get("reached", ckpt.state.get("share", 1.0)))
    model.enter(model.stage(reached))
    model.advance(reached)
    return model.to(device).eval().requires_grad_(False)
