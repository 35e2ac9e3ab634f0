"""A run's status.json."""

import json
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from gancli.errors import UsageError
from gancli.files import replacing
from gancli.folders import outputs
from gancli.structure import STATUS, read_json
from gancli.training import checkpoint
from gancli.training.guard import check_in_place, locked, told

NAME = "status.json"


def write(folder: Path, values: dict[str, Any]) -> None:
    """Write status.json atomically: a crash leaves the old file or the new one."""
    with replacing(folder / NAME) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def read(folder: Path) -> dict[str, Any] | None:
    """Return the contents of status.json, or None if there is no readable one; a dead process is not running."""
    return told(folder, read_json(folder / NAME, STATUS))


class Record:
    """The status.json of one job, from its beginning to its end, while which the job holds the lock of its folder.

    Args:
        folder: the job's folder.
        facts: what is known before the job begins: verb, overrides, choices, version.
        kept: whether the file is written; eval and sample have none, as they write into a training run's folder.
    """

    def __init__(self, folder: Path, facts: dict[str, Any], *, kept: bool) -> None:
        self.folder, self.kept = folder, kept
        self.before = read(folder)
        self.values = facts | {"state": "running", "config": "", "metrics": {}, "seconds": 0.0, "error": None}
        self.values["before"] = self.before and self.before["state"]  # which tells whether a resumed run was complete
        self.lock = ExitStack()
        self.started = time.time()
        self.begun = False

    def is_done(self, config: str) -> bool:
        """Tell whether an earlier command has completed a job with the same config."""
        before = self.before or {}
        return before.get("state") == "done" and before.get("config") == config

    def is_half_done(self, config: str) -> bool:
        """Tell whether an earlier command has begun a job with the same config and left a checkpoint to go on from."""
        before = self.before or {}
        if before.get("state") == "done" or before.get("config") != config:
            return False
        try:
            return checkpoint.find(self.folder).exists()
        except UsageError:  # killed before its first checkpoint, or all are damaged
            return False

    def go_on(self) -> None:
        """Keep what the folder's run says of its beginning: its overrides, below those typed now, and its sweep."""
        if self.before is None:
            self.values["choices"] = {}
            return
        typed = [*self.before.get("overrides", ()), *self.values["overrides"]]
        given = {word.lstrip("+").partition("=")[0]: word for word in typed}
        self.values["overrides"] = [word for key, word in given.items() if key != "resume"]
        self.values |= {key: self.before[key] for key in ("job", "swept") if key in self.before}
        self.values["choices"] = self.before.get("choices", {})

    def begin(self, config: str) -> None:
        """Record that the job is running; ``config`` is the digest of its config.

        Raises:
            UsageError: another process writes into the folder.
        """
        if self.kept:
            try:
                self.lock.enter_context(locked(self.folder))
            except UsageError:
                self.kept = False  # the folder is another's, and so is its status
                raise
        self.begun = True
        self._write(config=config)

    def end(self, state: str, *, metrics: dict[str, float] | None = None, error: str | None = None) -> None:
        """Record how the job ended: done, failed or interrupted."""
        self.kept = self.kept and self._is_in_place()
        with self.lock, suppress(OSError):  # a full disk is reported by other writes, which matter more
            seconds = round(time.time() - self.started, 3)
            self._write(state=state, metrics=metrics or {}, error=error, seconds=seconds)

    def withdraw(self) -> bool:
        """Restore the folder to its state before a command that could not begin; False if it must be kept."""
        in_place = self._is_in_place()
        self.lock.close()
        if not in_place:
            return True
        if self.before is None:
            return remove_if_empty(self.folder)
        if self.begun:
            write(self.folder, self.before)
        return True

    def _is_in_place(self) -> bool:
        """Tell whether the folder was neither moved nor removed; by now another one may have its name."""
        try:
            check_in_place(self.folder)
        except UsageError:  # the job's own error says so
            return False
        return True

    def _write(self, **values: Any) -> None:
        self.values |= values
        if self.kept:
            write(self.folder, self.values)


def remove_if_empty(folder: Path) -> bool:
    """Remove the folder of a run that wrote nothing but its status, and its parents up to outputs/ if then empty."""
    if folder == Path.cwd() or not folder.is_dir() or {p.name for p in folder.iterdir()} - {NAME}:
        return False
    (folder / NAME).unlink(missing_ok=True)
    with suppress(OSError):  # a parent holds other runs
        folder.rmdir()
        for parent in (folder.parent, folder.parent.parent):
            if parent.resolve() == Path.cwd() or (parent != folder.parent and parent.resolve() != outputs().resolve()):
                break
            parent.rmdir()
    return True
