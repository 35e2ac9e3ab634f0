"""A run goes on with the images that it was trained on: others may be those it is tested on.

Only ``other_data=true`` on the command line of a resume lets it go on with others, which its checkpoints note.
"""

from collections.abc import Mapping
from typing import Any

from gancli import config
from gancli.data.identity import same
from gancli.errors import UsageError
from gancli.training.checkpoint import Checkpoint

_ANYWAY = "or go on with them all the same by other_data=true"
KEY = "data"  # of a checkpoint


Earlier = list[dict[str, Any]]  # fingerprints of the images that a run had before, with the images seen until then


def check(saved: Checkpoint, cfg: Any, found: Mapping[str, Any]) -> tuple[list[str], Earlier]:
    """Compare the training images of a resumed run, ``found``, with those of its checkpoint (`data.identity`).

    Returns:
        Warnings for the log, as checkpoints of earlier releases do not say what they were trained on; and what the run
        was trained on before.

    Raises:
        UsageError: the images, their labels, their split or their order are others, and ``cfg.other_data`` is not set.
            It names the settings that differ.
    """
    known, earlier = saved.state.get(KEY), list(saved.state.get("earlier_data", []))
    if known is None:
        return [f"{saved.path} does not say which images it was trained on: only their number is compared"], earlier
    if same(known, found):
        return [], earlier
    if cfg.other_data:
        until = f"until now, {saved.images:,} images, {known['images']:,} others"
        line = (
            f"other_data=true: {found['images']:,} training images from here on, and {until}; held-out images may be "
            "among those that it was trained on, so scores may be too good, and the best score begins anew"
        )
        return [line], [*earlier, {**known, "until": saved.images}]
    what = "other training images, or the same in another order or split"
    if known["images"] != found["images"]:
        what = f"{found['images']:,} training images, and the run had {known['images']:,}"
    raise UsageError(f"resume={saved.path}: this is {what}; {_advice(saved, cfg)}")


def _advice(saved: Checkpoint, cfg: Any) -> str:
    before, now = _flat(saved.config.data), _flat(cfg.data)
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    if not changed:
        return (
            f"the files that it reads were changed, renamed, added or removed: restore them, start a new run, {_ANYWAY}"
        )
    shown = ", ".join(f"data.{key}={now.get(key)} (it was {before.get(key)})" for key in changed)
    return f"it has {shown}: leave that out, start a new run, {_ANYWAY}"


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """Return all values of a node by their dotted keys."""
    found: dict[str, Any] = {}
    for key, value in config.plain(node).items() if not prefix else node.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found
