"""A run goes on with the images that it was trained on, or not at all: others may be those it is tested on."""

from collections.abc import Mapping
from typing import Any

from gancli import config
from gancli.errors import UsageError
from gancli.training.checkpoint import Checkpoint

KEY = "data"  # of a checkpoint


def check(saved: Checkpoint, cfg: Any, found: Mapping[str, Any]) -> list[str]:
    """Compare the training images of a resumed run, ``found``, with those of its checkpoint (`data.identity`).

    Returns:
        Lines for the log: checkpoints of earlier releases do not say what they were trained on.

    Raises:
        UsageError: the images, their labels, their split or their order are others. It names the settings that differ.
    """
    known = saved.state.get(KEY)
    if known is None:
        return [f"{saved.path} does not say which images it was trained on: only their number is compared"]
    if known == dict(found):
        return []
    what = "other training images, or the same in another order or split"
    if known["images"] != found["images"]:
        what = f"{found['images']:,} training images, and the run had {known['images']:,}"
    raise UsageError(f"resume={saved.path}: this is {what}; {_advice(saved, cfg)}")


def _advice(saved: Checkpoint, cfg: Any) -> str:
    before, now = _flat(saved.config.data), _flat(cfg.data)
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    if not changed:
        return "the files that it reads were changed, renamed, added or removed: restore them, or start a new run"
    shown = ", ".join(f"data.{key}={now.get(key)} (it was {before.get(key)})" for key in changed)
    return f"it has {shown}: leave that out, or start a new run"


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """Return all values of a node by their dotted keys."""
    found: dict[str, Any] = {}
    for key, value in config.plain(node).items() if not prefix else node.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found
