"""What was found in folders of files, kept on disk, so that a million files need no listing the second time.

``<cache>/listed/<key>/``: the splits (`splits.Divided`), and what they stand on: the folders that were listed, archives
and shards with the times of their last change, and up to 10,000 of the files with their sizes and times.

What is noticed: a file that was added, removed or renamed, in whatever folder (the folder's time changes); an archive
or shard that was written; files whose contents were replaced where they are, if there are up to 10,000. Of more, evenly
spaced ones are looked at: one of a million that is overwritten in place is not noticed, nor is anything that puts the
time of a folder back. ``touch`` the folder then.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gancli import __version__
from gancli.data import cache
from gancli.data.entries import Entries
from gancli.data.files import Reader
from gancli.data.splits import Divided
from gancli.files import cache_dir, digest

_LOOKED_AT = 10_000  # files
_SETTLED = 2 * 10**9  # ns; a folder that changed just before it was listed may change again within the same tick

Stamp = list[int]  # time of the last change in ns, size in bytes, number of the inode


class Ground(NamedTuple):
    """What a list of files stands on: paths with their stamps."""

    stamps: dict[str, Stamp | None]
    some: dict[str, Stamp | None]  # files among many

    @classmethod
    def of(cls, files: Sequence[Reader], entries: Entries) -> "Ground":
        """Look at what readers have listed, and at some of the entries. Those of archives are no files."""
        paths = [path for each in files for path in each.stands_on()]
        step = -(-len(entries) // _LOOKED_AT)
        roots = [entries[i] for i in range(0, len(entries), max(step, 1))]
        some = [each.files.root / each.name for each in roots if each.files.loose]
        return cls({str(path): _stamp(path) for path in paths}, {str(path): _stamp(path) for path in some})

    def holds(self) -> bool:
        """Tell whether all is as it was."""
        return all(_stamp(path) == stamp for part in self for path, stamp in part.items())

    def settled(self, since: int) -> bool:
        """Tell whether nothing changed shortly before a time in ns, so that a change after it will show."""
        return all(stamp is None or stamp[0] < since - _SETTLED for part in self for stamp in part.values())


def _stamp(path: str | Path) -> Stamp | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_mtime_ns, status.st_size, status.st_ino]


def _folder(asked: Mapping[str, Any]) -> Path:
    return cache_dir() / "listed" / digest({**asked, "version": __version__})


def load(asked: Mapping[str, Any], files: Sequence[Reader]) -> Divided | None:
    """Return what was found before, if nothing has changed since.

    Args:
        asked: all that the result depends on besides the files, as plain JSON types.
        files: the readers, in the order in which they were when it was kept.
    """
    folder = _folder(asked)
    try:
        kept = json.loads((folder / "meta.json").read_text())
        if not Ground(*kept["ground"]).holds():
            return None
        labels = cache.array(folder / "labels.npy") if kept["labelled"] else None
        entries = Entries.load(folder, files) if kept["listed"] else None
        bounds = {split: (int(a), int(b)) for split, (a, b) in kept["bounds"].items()}
        channels, height, width = kept["shape"]
        labels = None if labels is None else np.array(labels, np.int64)
        shape, lines = (channels, height, width), (tuple(kept["notes"]), tuple(kept["warnings"]))
        return Divided(kept["key"], shape, bounds, tuple(kept["classes"]), labels, *lines, entries)
    except (OSError, EOFError, ValueError, TypeError, LookupError):  # missing or damaged
        return None


def keep(asked: Mapping[str, Any], found: Divided, ground: Ground, since: int) -> None:
    """Keep what was found; a cache that cannot be written, or folders that have just changed, are done without.

    Args:
        asked: as in load().
        found: the splits.
        ground: what they stand on, looked at before the files were listed and after.
        since: time in ns when listing began.
    """
    folder = _folder(asked)
    if not ground.settled(since):
        return
    meta: dict[str, Any] = {
        "ground": list(ground), "labelled": found.labels is not None, "listed": found.entries is not None,
        "bounds": dict(found.bounds), "shape": list(found.shape), "key": found.key, "classes": list(found.classes),
        "notes": list(found.notes), "warnings": list(found.warnings),
    }  # fmt: skip
    try:
        with cache.publishing(folder, lambda: False) as temporary:
            if found.labels is not None:
                cache.save(temporary / "labels.npy", found.labels)
            if found.entries is not None:
                found.entries.save(temporary)
            cache.note(temporary / "meta.json", meta)
    except OSError:
        return


def now() -> int:
    """Return the time in ns since the epoch."""
    return time.time_ns()
