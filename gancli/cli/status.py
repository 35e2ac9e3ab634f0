"""status.json of a run."""

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from gancli.files import replacing

NAME = "status.json"


def write(folder: Path, values: dict[str, Any]) -> None:
    """Write status.json so that a crash leaves the old one or the new one."""
    with replacing(folder / NAME) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def read(folder: Path) -> dict[str, Any] | None:
    """Return what status.json says, or None where there is none that can be read."""
    try:
        values = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None


class Record:
    """The status.json of one job, from its beginning to its end.

    Args:
        folder: the job's folder.
        facts: what is known before it begins: verb, overrides, choices, version.
        kept: whether there is a file at all; eval and sample have none, they write into a run of train's.
    """

    def __init__(self, folder: Path, facts: dict[str, Any], *, kept: bool) -> None:
        self.folder, self.kept = folder, kept
        self.before = read(folder)
        self.values = facts | {"state": "running", "config": "", "metrics": {}, "seconds": 0.0, "error": None}
        self.started = time.time()
        self.begun = False

    def is_done(self, config: str) -> bool:
        """Tell whether an earlier command did this very job."""
        before = self.before or {}
        return before.get("state") == "done" and before.get("config") == config

    def begin(self, config: str) -> None:
        """Write that the job runs; ``config`` is the digest of its config."""
        self.begun = True
        self._write(config=config)

    def end(self, state: str, *, metrics: dict[str, float] | None = None, error: str | None = None) -> None:
        """Write how the job ended: done, failed or interrupted."""
        with suppress(OSError):  # a full disk has been, or will be, reported by who needs the space more
            self._write(state=state, metrics=metrics or {}, error=error, seconds=round(time.time() - self.started, 3))

    def withdraw(self) -> bool:
        """Leave the folder as it was before a command that could not begin; False if there is something to keep."""
        if self.before is None:
            return remove_if_empty(self.folder)
        if self.begun:
            write(self.folder, self.before)
        return True

    def _write(self, **values: Any) -> None:
        self.values |= values
        if self.kept:
            write(self.folder, self.values)


def remove_if_empty(folder: Path) -> bool:
    """Remove the folder of a run that wrote nothing but its status, and its parent when nothing else is in there."""
    if folder == Path.cwd() or not folder.is_dir() or {p.name for p in folder.iterdir()} - {NAME}:
        return False
    (folder / NAME).unlink(missing_ok=True)
    with suppress(OSError):  # the parent holds other runs
        folder.rmdir()
        folder.parent.rmdir()
    return True
