"""What a run folder says at the end, in a form in which two runs can be compared."""

import hashlib
import json
from pathlib import Path
from typing import Any

from helpers import tensors
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gancli.structure import read_rows
from gancli.training import checkpoint

OWN = ("events.out.", "log.txt", "machine.json", "status.json", "config.yaml")  # of each process, or of its time


def told(folder: Path) -> dict[str, Any]:
    """Return files and numbers of a run: names, pictures, rows, scores, scalars of TensorBoard, and checkpoints."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "rewound-" not in str(path))
    found: dict[str, Any] = {
        "files": [str(each.relative_to(folder)) for each in files if not each.name.startswith(OWN)]
    }
    for file in files:
        name = str(file.relative_to(folder))
        if file.suffix in (".png", ".gif"):
            found[name] = _digest(file.read_bytes())
        elif file.suffix == ".pt":
            state = checkpoint.load(file).state
            found[name] = {key: _digest(each.numpy().tobytes()) for key, each in tensors(state).items()}
            found[name] |= {key: state[key] for key in ("images", "turn", "metrics", "owed")}
        elif file.suffix == ".json" and file.parent.name == "eval":
            card = json.loads(file.read_text())
            found[name] = card["values"] | {"images_seen": card["images_seen"]}
    found["rows"] = [_timeless(row) for row in read_rows(folder / "metrics.jsonl")]
    events = EventAccumulator(str(folder), {"scalars": 0}).Reload()
    found["scalars"] = {
        tag: {event.step: event.value for event in events.Scalars(tag)}
        for tag in events.Tags()["scalars"]
        if not tag.startswith("runtime/")
    }
    found["hparams"] = "_hparams_/session_start_info" in events.summary_metadata
    return found


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return what two such descriptions do not share."""
    return [f"{key}: {one.get(key)} != {other.get(key)}" for key in {**one, **other} if one.get(key) != other.get(key)]


def _timeless(row: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in row.items() if not key.startswith("runtime/")}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
